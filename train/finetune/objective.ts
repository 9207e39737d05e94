/** What SAM-2 is trained on: how far the masks, overlaps and object scores of a frame are off. */
import {
  abs,
  add,
  amax,
  bceWithLogits,
  detach,
  dicePerObject,
  div,
  expand,
  focalPerObject,
  gt,
  maximum,
  mean,
  mul,
  neg,
  reshape,
  sub,
  sum,
  type Tensor,
} from "../../engine/mod.ts";
import { bestIndex, takePerRow } from "../../model/sam2/choose.ts";
import type { SamHeadsOutput } from "../../model/sam2/sam2_image.ts";

/** Factors of the terms in the loss. Source: the official fine-tuning configuration. */
export const TERM_WEIGHTS = { focal: 20, dice: 1, iou: 1, objectScore: 1 } as const;

/** The terms of the objective, not yet weighted, each a scalar. */
export type ObjectiveTerms = { readonly [name in keyof typeof TERM_WEIGHTS]: Tensor };

/**
 * The terms for one prediction. Of several masks the best one for each object is taught, all their
 * predicted overlaps are; where an object is absent only its score is.
 *
 * @param heads masks of B objects.
 * @param target binary masks, [B, 1, R, R].
 */
export function predictionTerms(
  { highResMultimasks: logits, ious, objectScoreLogits }: SamHeadsOutput,
  target: Tensor,
): ObjectiveTerms {
  const [batch, masks, height, width] = logits.shape;
  const targets = expand(target, logits.shape);
  const flat = (x: Tensor) => reshape(x, [batch * masks, height, width]);
  const [masked, wanted] = [flat(logits), flat(targets)];
  const focal = reshape(focalPerObject(masked, wanted), [batch, masks]);
  const dice = reshape(dicePerObject(masked, wanted), [batch, masks]);
  const joined = add(mul(focal, TERM_WEIGHTS.focal), mul(dice, TERM_WEIGHTS.dice));
  const best = bestIndex(neg(joined));
  const gaps = abs(sub(ious, trueOverlaps(logits, targets)));
  const present = reshape(amax(target, [1, 2, 3]), [batch, 1]);
  const overObjects = (x: Tensor) => div(sum(mul(x, present)), batch);
  return {
    focal: overObjects(takePerRow(focal, best)),
    dice: overObjects(takePerRow(dice, best)),
    iou: overObjects(mean(gaps, [1], true)),
    objectScore: bceWithLogits(objectScoreLogits, present),
  };
}

/** The weighted sum of terms. */
export function objective(terms: ObjectiveTerms): Tensor {
  const names = Object.keys(TERM_WEIGHTS) as (keyof ObjectiveTerms)[];
  return names.map((name) => mul(terms[name], TERM_WEIGHTS[name])).reduce(add);
}

/** Sums of the terms of several predictions: frames and corrections count alike. */
export function sumTerms(predictions: readonly ObjectiveTerms[]): ObjectiveTerms {
  const total = (name: keyof ObjectiveTerms) => predictions.map((terms) => terms[name]).reduce(add);
  return {
    focal: total("focal"),
    dice: total("dice"),
    iou: total("iou"),
    objectScore: total("objectScore"),
  };
}

/** Intersection over union of each mask with its target, [B, M]. */
function trueOverlaps(logits: Tensor, targets: Tensor): Tensor {
  const own = detach(gt(logits, 0));
  const shared = sum(mul(own, targets), [2, 3]);
  return div(shared, maximum(sum(maximum(own, targets), [2, 3]), 1));
}

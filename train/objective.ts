/** The losses of SSS: what labelled and unlabelled images teach (method: C.5). */
import {
  abs,
  add,
  amax,
  argmax,
  bceWithLogits,
  cast,
  crossEntropy,
  detach,
  div,
  eq,
  flatten,
  ge,
  gt,
  interpolate,
  maximum,
  mean,
  mul,
  reshape,
  select,
  softmax,
  softmaxDice,
  sub,
  sum,
  type Tensor,
} from "../engine/mod.ts";
import type { SssConfig } from "../model/sss/config.ts";
import type { ClassMasks } from "../model/sss/sss_model.ts";

/** Factor of positive pixels in the loss `bce-pw2`. */
const POSITIVE_WEIGHT = 2;

/** The supervised loss of class logits [B, 1 + C, R, R] and labels u32 [B, R, R]. */
export function supervisedLoss(
  logits: Tensor,
  target: Tensor,
  kind: SssConfig["labelLoss"],
): Tensor {
  if (kind === "ce") return crossEntropy(logits, target);
  if (kind === "ce+dice") {
    return mul(add(crossEntropy(logits, target), softmaxDice(logits, target)), 0.5);
  }
  const perClass: Tensor[] = [];
  for (let c = 1; c < logits.shape[1]; c++) {
    const truth = cast(eq(target, c), "f32");
    const own = select(logits, 1, c);
    const posWeight = kind === "bce-pw2" ? POSITIVE_WEIGHT : 1;
    perClass.push(bceWithLogits(own, truth, { posWeight }));
  }
  const bce = div(perClass.reduce(add), perClass.length);
  return kind === "bce-pw2" ? bce : add(bce, softmaxDice(logits, target));
}

/** Loss of the object scores: is the class in this slice? `present` is [B, C] of 0 and 1. */
export function presenceLoss(masks: ClassMasks, present: Tensor): Tensor {
  return bceWithLogits(masks.objectScores, present);
}

/** Distance of the predicted overlaps from the true ones, over classes that are present. */
export function overlapLoss(
  logits: Tensor,
  masks: ClassMasks,
  truth: Tensor,
  present: Tensor,
): Tensor {
  const own = detach(gt(logits, 0));
  const shared = sum(mul(own, truth), [2, 3]);
  const union = sum(maximum(own, truth), [2, 3]);
  const gap = abs(sub(masks.ious, div(shared, maximum(union, 1))));
  return div(sum(mul(gap, present)), maximum(sum(present), 1));
}

/** What the teacher says of a batch of unlabelled images. */
export interface PseudoLabels {
  /** Class numbers f32 [B, 1, R, R]. */
  readonly target: Tensor;
  /** Weights of the pixels, [B, 1, R, R]: 0 where the teacher is unsure or PCSW kept nothing. */
  readonly weight: Tensor;
}

/**
 * @param logits of the teacher, [B, 1 + C, R, R].
 * @param classWeight where a class's pseudo-label may be trained on, [B, C, R, R].
 */
export function pseudoLabels(
  logits: Tensor,
  classWeight: Tensor | undefined,
  conf: number,
): PseudoLabels {
  const probability = softmax(detach(logits), 1);
  const sure = ge(amax(probability, 1, true), conf);
  const target = cast(argmax(probability, 1, true), "f32");
  if (!classWeight) return { target, weight: sure };
  const classes = classWeight.shape[1];
  let allowed = eq(target, 0);
  for (let c = 1; c <= classes; c++) {
    const own = mul(eq(target, c), reshape(select(classWeight, 1, c - 1), target.shape));
    allowed = add(allowed, own);
  }
  return { target, weight: mul(sure, allowed) };
}

/**
 * Masked cross entropy, normalised by all pixels (UniMatch V2), and with `ce+dice` half of it and half of
 * the masked Dice loss, as the labelled loss has it.
 */
export function unlabelledLoss(
  logits: Tensor,
  { target, weight }: PseudoLabels,
  kind: SssConfig["unlabelledLoss"],
): Tensor {
  const labels = cast(flatten(target, 0, 1), "u32");
  const kept = flatten(weight, 0, 1);
  const entropy = mean(mul(crossEntropy(logits, labels, { reduction: "none" }), kept));
  if (kind === "ce") return entropy;
  return mul(add(entropy, softmaxDice(logits, labels, { weight: kept })), 0.5);
}

/** Coarse logits at the size of the labels. */
export function enlarge(coarse: Tensor, size: number): Tensor {
  return interpolate(coarse, { size: [size, size], mode: "bilinear" });
}

/** Training losses, composed of primitives; they compute in f32 whatever types they are given. */
import { sameShape, type Shape, show } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { cast } from "./ops/cast.ts";
import {
  abs,
  add,
  div,
  maximum,
  mul,
  neg,
  pow,
  sigmoid,
  softplus,
  square,
  sub,
  where,
} from "./ops/elementwise.ts";
import { oneHot } from "./ops/indexing.ts";
import { permute, requireRows, reshape } from "./ops/movement.ts";
import { sum } from "./ops/reduce.ts";
import { logSoftmax, softmax } from "./ops/softmax.ts";
import { mean } from "./ops/statistics.ts";

/** How the losses of the elements are joined. */
export type Reduction = "none" | "mean" | "sum";

/** Smallest divisor of a weighted mean: with all weights zero the loss is zero. */
const TINY = 1e-12;

function reduceLoss(loss: Tensor, reduction: Reduction, weights?: Tensor): Tensor {
  const weight = weights && cast(weights, "f32");
  const weighted = weight ? mul(loss, weight) : loss;
  if (reduction === "none") return weighted;
  if (reduction === "sum") return sum(weighted);
  return weight ? div(sum(weighted), maximum(sum(weight), TINY)) : mean(weighted);
}

/** 1 at each position's class, as [B, classes, ...]. */
function classMap(target: Tensor, classes: number): Tensor {
  const last = oneHot(target, classes);
  const dims = last.shape.map((_, i) => i === 0 ? 0 : i === 1 ? last.rank - 1 : i - 1);
  return permute(last, dims);
}

function requireSame(op: string, x: Tensor, target: Tensor): void {
  if (sameShape(x.shape, target.shape)) return;
  throw new RangeError(`${op}: ${show(x.shape)} and ${show(target.shape)} differ in shape.`);
}

function requireTarget(op: string, logits: Tensor, target: Tensor): void {
  const positions: Shape = [logits.shape[0], ...logits.shape.slice(2)];
  if (show(positions) !== show(target.shape)) {
    throw new RangeError(
      `${op}: targets ${show(target.shape)} do not fit logits ${show(logits.shape)}.`,
    );
  }
  requireRows(op, target, logits.shape[1]);
}

/**
 * Cross entropy of logits [B, C, ...] with class numbers u32 [B, ...].
 *
 * @param options.weight factor per position [B, ...]; the mean divides by their sum (0 ignores a
 * position; with all ignored the loss is 0).
 * @throws {RangeError} where shapes do not fit, or a class from the host is not among them.
 *
 * @example Two of three classes
 * ```ts
 * import { crossEntropy, read, tensor } from "sam2";
 *
 * const logits = tensor([2, 0, 0, 0, 3, 0], [2, 3]);
 * const classes = tensor(Uint32Array.of(0, 1), [2]);
 * console.log((await read(crossEntropy(logits, classes)))[0]); // 0.17
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor,
  { reduction = "mean", weight }: { reduction?: Reduction; weight?: Tensor } = {},
): Tensor {
  requireTarget("crossEntropy", logits, target);
  const hot = classMap(target, logits.shape[1]);
  // Not a product: classes with a logit of -infinity, which are ruled out, would make it NaN.
  const loss = neg(sum(where(hot, logSoftmax(cast(logits, "f32"), 1), 0), 1));
  return reduceLoss(loss, reduction, weight);
}

/**
 * Binary cross entropy of logits with targets in [0, 1] of the same shape.
 *
 * @param options.posWeight factor of the positive term.
 * @param options.weight factor per element, as in {@link crossEntropy}.
 */
export function bceWithLogits(
  scores: Tensor,
  targets: Tensor,
  { reduction = "mean", posWeight = 1, weight }: {
    reduction?: Reduction;
    posWeight?: number;
    weight?: Tensor;
  } = {},
): Tensor {
  requireSame("bceWithLogits", scores, targets);
  const [logits, target] = [cast(scores, "f32"), cast(targets, "f32")];
  // Both terms are positive and exact in their tails, so nothing cancels for confident logits.
  const positive = mul(target, softplus(neg(logits)));
  const negative = mul(sub(1, target), softplus(logits));
  const loss = add(posWeight === 1 ? positive : mul(positive, posWeight), negative);
  return reduceLoss(loss, reduction, weight);
}

/**
 * Soft Dice loss of SAM-2's training code: `1 - (2 Σpy + 1) / (Σp + Σy + 1)` for each object of
 * logits [N, ...], summed and divided by `objects`.
 */
export function diceLoss(
  logits: Tensor,
  target: Tensor,
  { objects = logits.shape[0] }: { objects?: number } = {},
): Tensor {
  return div(sum(dicePerObject(logits, target)), objects);
}

/** The terms of {@link diceLoss}, [N]. */
export function dicePerObject(logits: Tensor, target: Tensor): Tensor {
  requireSame("diceLoss", logits, target);
  const flat = [logits.shape[0], logits.size / logits.shape[0]];
  const p = reshape(sigmoid(cast(logits, "f32")), flat);
  const y = reshape(cast(target, "f32"), flat);
  const shared = add(mul(sum(mul(p, y), 1), 2), 1);
  return sub(1, div(shared, add(add(sum(p, 1), sum(y, 1)), 1)));
}

/** Options of the focal loss. */
export interface FocalOptions {
  /** Share of positive elements, 0.25 where left out; a negative one leaves the factor out. */
  readonly alpha?: number;
  /** Exponent of how far an element is off, 2 where left out. */
  readonly gamma?: number;
}

/**
 * Focal loss of SAM-2's training code: `alpha_t (1 - p_t)^gamma BCE`, averaged over the elements of
 * each object of [N, ...], summed and divided by `objects`.
 */
export function sigmoidFocalLoss(
  logits: Tensor,
  target: Tensor,
  { objects = logits.shape[0], ...options }: FocalOptions & { objects?: number } = {},
): Tensor {
  return div(sum(focalPerObject(logits, target, options)), objects);
}

/** The terms of {@link sigmoidFocalLoss}, [N]. */
export function focalPerObject(
  logits: Tensor,
  targets: Tensor,
  { alpha = 0.25, gamma = 2 }: FocalOptions = {},
): Tensor {
  requireSame("sigmoidFocalLoss", logits, targets);
  const target = cast(targets, "f32");
  const p = sigmoid(cast(logits, "f32"));
  const miss = add(mul(p, sub(1, target)), mul(sub(1, p), target));
  // A square costs less than a power, forward and backward.
  const factor = gamma === 2 ? square(miss) : pow(miss, gamma);
  let loss = mul(bceWithLogits(logits, target, { reduction: "none" }), factor);
  if (alpha >= 0) loss = mul(loss, add(mul(target, alpha), mul(sub(1, target), 1 - alpha)));
  return mean(reshape(loss, [logits.shape[0], -1]), [1]);
}

/**
 * Soft Dice loss of class probabilities, averaged over the classes (SSL4MIS form): sums run over batch
 * and space, `1 - (2 Σpy + s) / (Σp² + Σy² + s)`.
 *
 * @param logits [B, C, ...].
 * @param target class numbers u32 [B, ...].
 * @param options.weight factor per position [B, ...]; 0 leaves a position out of all three sums.
 */
export function softmaxDice(
  logits: Tensor,
  target: Tensor,
  { smooth = 1e-5, weight }: { smooth?: number; weight?: Tensor } = {},
): Tensor {
  requireTarget("softmaxDice", logits, target);
  const p = softmax(cast(logits, "f32"), 1);
  const y = classMap(target, logits.shape[1]);
  const w = weight && reshape(cast(weight, "f32"), [weight.shape[0], 1, ...weight.shape.slice(1)]);
  const dims = logits.shape.map((_, i) => i).filter((i) => i !== 1);
  const total = (x: Tensor) => sum(w ? mul(x, w) : x, dims);
  const shared = add(mul(total(mul(p, y)), 2), smooth);
  const sizes = add(add(total(square(p)), total(y)), smooth);
  return mean(sub(1, div(shared, sizes)));
}

/** Mean (or sum) of squared differences, broadcasting. */
export function mseLoss(
  a: Tensor,
  b: Tensor,
  { reduction = "mean" }: { reduction?: Reduction } = {},
): Tensor {
  return reduceLoss(square(sub(cast(a, "f32"), cast(b, "f32"))), reduction);
}

/** Mean (or sum) of absolute differences, broadcasting. */
export function l1Loss(
  a: Tensor,
  b: Tensor,
  { reduction = "mean" }: { reduction?: Reduction } = {},
): Tensor {
  return reduceLoss(abs(sub(cast(a, "f32"), cast(b, "f32"))), reduction);
}

/** Means, variances and what else follows from sums. */
import { raised } from "../autocast.ts";
import { isFloat, requireFloat } from "../dtype.ts";
import type { Tensor } from "../tensor.ts";
import {
  abs,
  add,
  detach,
  eq,
  exp,
  le,
  log,
  mul,
  neg,
  sqrt,
  square,
  sub,
  where,
} from "./elementwise.ts";
import { reshape } from "./movement.ts";
import { amax, type Dims, reducedCount, sum } from "./reduce.ts";

/** The largest finite number. */
const LARGEST = 2 ** 128 - 2 ** 104;

/** Mean over dimensions (all where left out). */
export function mean(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  requireFloat("mean", x);
  return mul(sum(x, dims, keepdim), 1 / reducedCount(x, dims));
}

/**
 * Variance over dimensions; divides by n, or by n - 1 with `unbiased`.
 *
 * @throws {RangeError} for an unbiased variance of single values.
 */
export function variance(
  values: Tensor,
  dims?: Dims,
  keepdim = false,
  { unbiased = false }: { unbiased?: boolean } = {},
): Tensor {
  requireFloat("variance", values);
  const x = raised(values);
  const count = reducedCount(x, dims) - (unbiased ? 1 : 0);
  if (count === 0) throw new RangeError("variance: one value has no unbiased variance.");
  return mul(sum(square(sub(x, mean(x, dims, true))), dims, keepdim), 1 / count);
}

/** Smallest value over dimensions. */
export function amin(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  if (isFloat(x.dtype)) return neg(amax(neg(x), dims, keepdim));
  // The complement of the bits: unlike the negative, every whole number has one.
  const ones = x.dtype === "u32" ? 2 ** 32 - 1 : -1;
  return sub(ones, amax(sub(ones, x), dims, keepdim));
}

/** log of the sum of exponentials over dimensions, stable. */
export function logsumexp(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  requireFloat("logsumexp", x);
  const top = detach(amax(x, dims, true));
  // Where the largest value is infinite, it is the result, and differences from it would be NaN.
  const finite = le(abs(top), LARGEST);
  const total = log(sum(exp(sub(x, where(finite, top, 0))), dims, keepdim));
  const most = reshape(top, total.shape);
  return where(reshape(finite, total.shape), add(total, most), most);
}

/** Euclidean norm over dimensions; its gradient at 0 is 0. */
export function norm(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  requireFloat("norm", x);
  const squares = sum(square(raised(x)), dims, keepdim);
  const zero = eq(squares, 0);
  return where(zero, 0, sqrt(where(zero, 1, squares)));
}

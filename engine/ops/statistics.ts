/** Means, variances and what else follows from sums. */
import { raised } from "../autocast.ts";
import type { Tensor } from "../tensor.ts";
import { add, exp, log, mul, neg, sqrt, square, sub } from "./elementwise.ts";
import { reshape } from "./movement.ts";
import { amax, type Dims, reducedCount, sum } from "./reduce.ts";

/** Mean over dimensions (all where left out). */
export function mean(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  return mul(sum(x, dims, keepdim), 1 / reducedCount(x, dims));
}

/** Variance over dimensions; divides by n, or by n - 1 with `unbiased`. */
export function variance(
  values: Tensor,
  dims?: Dims,
  keepdim = false,
  { unbiased = false }: { unbiased?: boolean } = {},
): Tensor {
  const x = raised(values);
  const count = reducedCount(x, dims) - (unbiased ? 1 : 0);
  return mul(sum(square(sub(x, mean(x, dims, true))), dims, keepdim), 1 / count);
}

/** Smallest value over dimensions. */
export function amin(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  return neg(amax(neg(x), dims, keepdim));
}

/** log of the sum of exponentials over dimensions, stable. */
export function logsumexp(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  const top = amax(x, dims, true);
  const total = log(sum(exp(sub(x, top)), dims, keepdim));
  return add(total, reshape(top, total.shape));
}

/** Euclidean norm over dimensions. */
export function norm(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  return sqrt(sum(square(raised(x)), dims, keepdim));
}

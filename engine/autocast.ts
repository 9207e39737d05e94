/** Which ops compute from f16 and which from f32, chosen for a part of a graph (as `torch.autocast`). */
import { isFloat } from "./dtype.ts";
import { cast } from "./ops/cast.ts";
import type { Tensor } from "./tensor.ts";

/**
 * `strict`: element types are as given, and operands must agree; `promote`: operands of f16 and f32
 * meet in f32; `f16`: in addition, each op has its type.
 */
type Mode = "strict" | "promote" | "f16";

let mode: Mode = "strict";

function within<T>(inner: Mode, build: () => T): T {
  const outer = mode;
  mode = inner;
  try {
    return build();
  } finally {
    mode = outer;
  }
}

/** How a graph is built: in f32, or as {@link autocast} builds it with f16. */
export type Precision = "f32" | "f16";

/**
 * Builds a part of a graph in mixed precision, as `torch.autocast`. Inside,
 *
 * - `matmul`, `linear`, `conv2d`, `convTranspose2d`, `einsum` and attention take f16 and give f16;
 * - `exp`, `log`, `pow`, `rsqrt`, `reciprocal`, `softplus`, `sum` and what is made of it (means,
 *   variances, norms), `cumsum`, softmax, layer and batch normalisation take and give f32, as losses
 *   always do;
 * - other ops keep the type of their operands, and where those are f16 and f32 compute in f32.
 *
 * Parameters stay f32: a weight's cast is one node of the graph however often it is used, and its
 * gradient arrives in f32. The gradients themselves may be built inside or outside.
 *
 * @param to `f32` switches mixed precision off again for an inner part.
 * @param build builds the graph, and does not wait for anything.
 *
 * @example A product in half precision
 * ```ts
 * import { autocast, matmul, read, tensor } from "sam2";
 *
 * const [a, b] = [tensor([1, 2, 3, 4], [2, 2]), tensor([5, 6, 7, 8], [2, 2])];
 * const product = autocast("f16", () => matmul(a, b));
 * console.log(product.dtype, [...await read(product)]); // f16 [19, 22, 43, 50]
 * ```
 */
export function autocast<T>(to: Precision, build: () => T): T {
  return within(to === "f16" ? "f16" : "strict", build);
}

/** Builds gradients: their rules may join tensors of f16 and f32, and never choose types by op. */
export const promoting = <T>(build: () => T): T => within("promote", build);

/** An operand of an op that computes from f16 under {@link autocast}. */
export const lowered = (x: Tensor): Tensor =>
  mode === "f16" && x.dtype === "f32" ? cast(x, "f16") : x;

/** An operand of an op that computes from f32 under {@link autocast}. */
export const raised = (x: Tensor): Tensor =>
  mode === "f16" && x.dtype === "f16" ? cast(x, "f32") : x;

/** Operands of one op: in f32 where they are f16 and f32, unless types are strict. */
export function promoted(operands: readonly Tensor[]): readonly Tensor[] {
  const mixed = operands.some((x) => x.dtype !== operands[0].dtype);
  if (mode === "strict" || !mixed || !operands.every((x) => isFloat(x.dtype))) return operands;
  return operands.map((x) => cast(x, "f32"));
}

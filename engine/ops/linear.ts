/** The affine map of the last dimension. */
import { lowered } from "../autocast.ts";
import { show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { add } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { reshape } from "./movement.ts";

/**
 * x Wᵀ + b.
 *
 * @param x [..., inputs]
 * @param weight [outputs, inputs]
 * @param bias [outputs]
 * @throws {RangeError} where shapes do not fit.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [outputs, inputs] = weight.shape;
  if (weight.rank !== 2 || x.shape.at(-1) !== inputs) {
    throw new RangeError(
      `linear: ${show(x.shape)} does not fit a weight of ${show(weight.shape)}.`,
    );
  }
  if (bias && (bias.rank !== 1 || bias.size !== outputs)) {
    throw new RangeError(`linear: a bias of ${show(bias.shape)} for ${outputs} outputs.`);
  }
  const rows = matmul(reshape(x, [-1, inputs]), weight, { transB: true });
  const out = bias ? add(rows, lowered(bias)) : rows;
  return reshape(out, [...x.shape.slice(0, -1), outputs]);
}

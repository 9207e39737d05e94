/** Sums of rows by an index: the gradient of a selection. */
import { lowerIndexAdd } from "../../shaders/index_add.ts";
import { isFloat } from "../dtype.ts";
import type { HeavyRule } from "../rule.ts";
import { axisView, dimension, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { indexSelect, reshape } from "./movement.ts";

/**
 * Zeros of `size` rows along `dim`, to whose row `index[j]` row j of g is added.
 *
 * @param g values; its size along `dim` is that of the index.
 * @param index u32 or i32 vector.
 * @throws {RangeError} where g and the index disagree.
 */
export function indexAdd(g: Tensor, dim: number, index: Tensor, size: number): Tensor {
  const axis = dimension(dim, g.rank, "indexAdd");
  if (index.rank !== 1 || isFloat(index.dtype) || g.shape[axis] !== index.size) {
    throw new RangeError(
      `indexAdd: index ${index.dtype} ${show(index.shape)} does not fit dimension ${axis} of ${
        show(g.shape)
      }.`,
    );
  }
  const shape = g.shape.map((n, i) => i === axis ? size : n);
  return node("indexAdd", axisView(shape, axis), [g, index], shape);
}

/** Rule of the primitive: the gradient selects rows. */
export const indexAddRule: HeavyRule<"indexAdd"> = {
  epilogue: true,
  gradient: (n, g) => {
    const { outer, size, inner } = n.attributes;
    const [input, index] = n.inputs;
    const rows = indexSelect(reshape(g, [outer, size, inner]), 1, index);
    return [reshape(rows, input.shape), undefined];
  },
  lower: (n, profile, epilogue) => lowerIndexAdd(n.attributes, n.inputs[1].size, profile, epilogue),
};

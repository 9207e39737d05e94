/** Selection by computed indices, composed of row selection. */
import { axisView, dimension, show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { cast } from "./cast.ts";
import { add, arange, eq, mul } from "./elementwise.ts";
import { indexSelect, reshape, unsqueeze } from "./movement.ts";

/**
 * `out[i][j][k] = x[i][index[i][j][k]][k]` for `dim` 1, and likewise for others (`torch.gather`, with
 * equal sizes outside `dim`).
 *
 * @param index u32, within the size of `dim`.
 * @throws {RangeError} where a size outside `dim` differs.
 */
export function takeAlong(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = dimension(dim, x.rank, "takeAlong");
  const fits = index.rank === x.rank && index.dtype === "u32" &&
    index.shape.every((size, i) => i === d || size === x.shape[i]);
  if (!fits) {
    throw new RangeError(
      `takeAlong: index ${index.dtype} ${show(index.shape)} does not fit ${
        show(x.shape)
      } along ${dim}.`,
    );
  }
  const { outer, size, inner } = axisView(x.shape, d);
  const rows = mul(arange(outer, [outer, 1, 1]), size);
  const within = add(rows, reshape(index, [outer, index.shape[d], inner]));
  const flat = add(mul(within, inner), arange(inner, [1, 1, inner]));
  return reshape(indexSelect(reshape(x, [x.size]), 0, reshape(flat, [index.size])), index.shape);
}

/** 1 at position `index` of a new last dimension of size `classes`, else 0 (f32). */
export function oneHot(index: Tensor, classes: number): Tensor {
  return eq(unsqueeze(cast(index, "u32"), -1), arange(classes));
}

/** Rows of a table [count, dim] for integers of any shape: [..., dim]. */
export function embedding(table: Tensor, index: Tensor): Tensor {
  const rows = indexSelect(table, 0, reshape(index, [index.size]));
  return reshape(rows, [...index.shape, ...table.shape.slice(1)]);
}

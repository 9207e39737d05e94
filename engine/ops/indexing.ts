/** Selection by computed indices, composed of row selection. */
import { axisView, dimension, show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { cast } from "./cast.ts";
import { add, arange, eq, lt, mul, where } from "./elementwise.ts";
import { indexSelect, requireRows, reshape, unsqueeze } from "./movement.ts";

/** An index that no tensor reaches. */
const NOWHERE = 2 ** 32 - 1;

/**
 * `out[i][j][k] = x[i][index[i][j][k]][k]` for `dim` 1, and likewise for others (`torch.gather`, with
 * equal sizes outside `dim`).
 *
 * @param index u32, within the size of `dim`, as for {@link indexSelect}.
 * @throws {RangeError} where a size outside `dim` differs, or an index from the host is too large.
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
  requireRows("takeAlong", index, x.shape[d]);
  const { outer, size, inner } = axisView(x.shape, d);
  const place = reshape(index, [outer, index.shape[d], inner]);
  const within = add(mul(arange(outer, [outer, 1, 1]), size), place);
  const flat = add(mul(within, inner), arange(inner, [1, 1, inner]));
  const found = where(lt(place, size), flat, NOWHERE);
  return reshape(indexSelect(reshape(x, [x.size]), 0, reshape(found, [index.size])), index.shape);
}

/** 1 at position `index` of a new last dimension of size `classes`, else 0 (f32). */
export function oneHot(index: Tensor, classes: number): Tensor {
  return eq(unsqueeze(cast(index, "u32"), -1), arange(classes));
}

/** Rows of a table [count, dim] for integers of any shape, as {@link indexSelect}: [..., dim]. */
export function embedding(table: Tensor, index: Tensor): Tensor {
  requireRows("embedding", index, table.shape[0]);
  const rows = indexSelect(table, 0, reshape(index, [index.size]));
  return reshape(rows, [...index.shape, ...table.shape.slice(1)]);
}

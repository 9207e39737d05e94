/** Data-dependent choices as nodes of the graph, so that no step waits for a readback. */
import { add, arange, argmax, indexSelect, mul, reshape, type Tensor } from "../../engine/mod.ts";

/** Index (u32 [B]) of the largest score in each row of [B, M]. */
export function bestIndex(scores: Tensor): Tensor {
  return argmax(scores, 1);
}

/** `x[b, index[b]]` for x [B, M, ...] and a u32 index [B]: [B, 1, ...]. */
export function takePerRow(x: Tensor, index: Tensor): Tensor {
  const [batch, choices, ...rest] = x.shape;
  if (choices === 1) return x;
  const rows = add(mul(arange(batch), choices), index);
  const chosen = indexSelect(reshape(x, [batch * choices, ...rest]), 0, rows);
  return reshape(chosen, [batch, 1, ...rest]);
}

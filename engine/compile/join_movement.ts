/** Movement of movement as one node. The graph keeps each step, since a gradient may be asked for any. */
import type { Attributes } from "../attributes.ts";
import { sameShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";

/** True where the tensor has values: a leaf, or a result that was kept. */
export const isLeaf = (t: Tensor): boolean => t.op === "leaf" || t.storage !== undefined;

/** `source` in the shape of `t`, whose elements lie in the same order. */
function renamed(t: Tensor, source: Tensor): Tensor {
  const from = source.op === "reshape" && !isLeaf(source) ? source.inputs[0] : source;
  if (sameShape(from.shape, t.shape)) return from;
  if (t.op === "reshape" && from === t.inputs[0]) return t;
  return new Tensor("reshape", {}, [from], t.shape, t.dtype, t.replay);
}

function permuted(t: Tensor, source: Tensor): Tensor {
  let from = source;
  let { dims } = t.attributes as Attributes["permute"];
  if (source.op === "permute" && !isLeaf(source)) {
    const { dims: before } = source.attributes as Attributes["permute"];
    from = source.inputs[0];
    dims = dims.map((d) => before[d]);
  }
  const longer = dims.filter((d) => from.shape[d] !== 1);
  // Where only dimensions of size 1 move, the elements stay where they are.
  if (longer.every((d, i) => i === 0 || longer[i - 1] < d)) return renamed(t, from);
  if (from === t.inputs[0]) return t;
  return new Tensor("permute", { dims }, [from], t.shape, t.dtype, t.replay);
}

/**
 * What reshapes of reshapes and permutations of permutations are computed as: one step from what the
 * first of them reads, or that itself. All other tensors are missing.
 *
 * @param order tensors, inputs first.
 */
export function joinMovement(order: readonly Tensor[]): ReadonlyMap<Tensor, Tensor> {
  const joined = new Map<Tensor, Tensor>();
  for (const t of order) {
    if (isLeaf(t) || (t.op !== "reshape" && t.op !== "permute")) continue;
    const source = joined.get(t.inputs[0]) ?? t.inputs[0];
    const one = t.op === "reshape" ? renamed(t, source) : permuted(t, source);
    if (one !== t) joined.set(t, one);
  }
  return joined;
}

/** Writes to memory that the same computation reads. */
import { DTYPES } from "./dtype.ts";
import { node, type Storage, type Tensor } from "./tensor.ts";

/** A tensor, and the memory that its values go to. */
type Write = readonly [Tensor, Storage];

/** Bytes of a tensor's values. */
export const bytesOf = (t: Tensor): number => t.size * DTYPES[t.dtype].bytes;

/** A tensor with the same values that is computed, bit by bit, and not only renamed. */
export const copyOf = (t: Tensor): Tensor =>
  node("slice", { start: t.shape.map(() => 0), step: t.shape.map(() => 1) }, [t], t.shape);

/** Whether a tensor's values lie in a buffer that is written: within one, nothing can be copied. */
export function isStored(t: Tensor, writes: readonly Write[]): boolean {
  let base = t;
  while (!base.storage && (base.op === "reshape" || base.op === "detach")) base = base.inputs[0];
  const { storage } = base;
  return storage !== undefined && writes.some(([, { buffer }]) => buffer === storage.buffer);
}

/** Which writes go to memory that holds values of `leaves`. */
export function lateWrites(leaves: readonly Tensor[], writes: readonly Write[]): number[] {
  const stored = Map.groupBy(leaves.filter((t) => t.storage), (t) => t.storage!.buffer);
  return writes.flatMap(([t, { buffer, offset }], i) => {
    const meets = (leaf: Tensor) => {
      const first = leaf.storage!.offset;
      return first < offset + bytesOf(t) && offset < first + bytesOf(leaf);
    };
    return stored.get(buffer)?.some(meets) ? [i] : [];
  });
}

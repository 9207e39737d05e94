/** Results of a batch of objects stay together in GPU memory until the last object lets go of them. */
import { cat, dispose, evaluate, leaf, slice, type Tensor } from "../../engine/mod.ts";

/** Tensors that nobody uses any more; their memory is freed all at once, between computations. */
export class Leftovers {
  private readonly tensors: Tensor[] = [];

  /** Adds a tensor. */
  add(t: Tensor): void {
    this.tensors.push(t);
  }

  /** Frees the memory of all of them. */
  async free(): Promise<void> {
    await dispose(this.tensors.splice(0));
  }
}

/** A tensor in GPU memory of which each row belongs to another object. */
class SharedRows {
  private users = 0;

  constructor(readonly tensor: Tensor, private readonly leftovers: Leftovers) {}

  take(index: number): Row {
    this.users++;
    return { rows: this, index };
  }

  release(): void {
    if (--this.users === 0) this.leftovers.add(this.tensor);
  }
}

/** One object's row of a batch: a slice of 1 along the first dimension. */
export interface Row {
  readonly rows: { readonly tensor: Tensor; release(): void };
  readonly index: number;
}

/**
 * Computes tensors [B, ...] and hands out their rows, one list per tensor. The memory of a tensor is
 * left over once all of its rows have been released.
 */
export async function keepRows(
  tensors: readonly Tensor[],
  leftovers: Leftovers,
): Promise<Row[][]> {
  await evaluate(tensors);
  return tensors.map((t) => {
    // A fresh leaf: the node itself would keep alive, through its inputs, all frames before.
    const shared = new SharedRows(leaf(t.storage!, t.shape, t.dtype), leftovers);
    return Array.from({ length: t.shape[0] }, (_, i) => shared.take(i));
  });
}

/** Rows as one tensor, in the given order; a whole batch in its own order costs nothing. */
export function stackRows(list: readonly Row[]): Tensor {
  const runs: { tensor: Tensor; start: number; end: number }[] = [];
  for (const { rows: { tensor }, index } of list) {
    const last = runs.at(-1);
    if (last?.tensor === tensor && last.end === index) last.end++;
    else runs.push({ tensor, start: index, end: index + 1 });
  }
  const parts = runs.map(({ tensor, start, end }) =>
    end - start === tensor.shape[0] ? tensor : slice(tensor, 0, start, end)
  );
  return parts.length === 1 ? parts[0] : cat(parts, 0);
}

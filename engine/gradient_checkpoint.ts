/** Gradient checkpointing: less memory for the backward pass, at the price of a second forward pass. */
import { commonSegment, type GraphSegment, inSegment, Tensor } from "./tensor.ts";

/**
 * Builds a part of a graph whose intermediate values are not kept for the backward pass: `gradients`
 * computes them anew from the tensors that the part reads, just before it needs them. The values are
 * the same, dropout and other random numbers included, since those follow from their keys. Results of
 * the part stay in memory for as long as something reads them, so the gain is largest where `fn` makes
 * much and returns little, such as a block of a transformer. Parts may be nested: an inner one is then
 * computed a third time, from values that the outer one has computed anew.
 *
 * @example
 * ```ts
 * import { checkpoint, gradients, matmul, mean, readAll, square, tanh, tensor } from "sam2";
 *
 * const w = tensor([0.5, -0.2, 0.1, 0.3], [2, 2]);
 * const layer = (x: typeof w) => tanh(matmul(tanh(matmul(x, w)), w));
 * let x = tensor([1, 2], [1, 2]);
 * for (let i = 0; i < 3; i++) x = checkpoint(layer, x);
 * const [dw] = gradients(mean(square(x)), [w]);
 * console.log(await readAll([dw!]));
 * ```
 *
 * @param fn builds nodes; what it reads beside its arguments is kept as well. Not asynchronous.
 * @param inputs its arguments.
 * @returns what `fn` returns.
 */
export function checkpoint<A extends readonly unknown[], R>(
  fn: (...inputs: A) => R,
  ...inputs: A
): R {
  return inSegment(() => fn(...inputs));
}

/** Nodes of a graph as its backward pass reads them: those of checkpointed parts anew. */
export class Replays {
  private readonly copies = new Map<GraphSegment, ReadonlyMap<Tensor, Tensor>>();

  /** @param order the nodes of the graph, inputs first. */
  constructor(private readonly order: readonly Tensor[]) {}

  /**
   * The node with the values of `t`, computed anew where `t` belongs to a checkpointed part. Nodes run
   * in the order in which they are made, so this is to be asked when the backward pass gets there.
   */
  of(t: Tensor): Tensor {
    return this.within(t, t.segment);
  }

  private within(t: Tensor, segment: GraphSegment | undefined): Tensor {
    return segment ? this.replay(segment).get(t)! : t;
  }

  /** Copies of all nodes of a segment and of those inside it. */
  private replay(segment: GraphSegment): ReadonlyMap<Tensor, Tensor> {
    const known = this.copies.get(segment);
    if (known) return known;
    if (segment.outer) this.replay(segment.outer);
    const copies = new Map<Tensor, Tensor>();
    for (const t of this.order) {
      if (commonSegment(t.segment, segment) === segment) {
        copies.set(t, this.copy(t, segment, copies));
      }
    }
    this.copies.set(segment, copies);
    return copies;
  }

  private copy(t: Tensor, segment: GraphSegment, copies: ReadonlyMap<Tensor, Tensor>): Tensor {
    if (t.op === "leaf" || t.storage) return t;
    const inputs = t.inputs.map((x) =>
      copies.get(x) ?? this.within(x, commonSegment(x.segment, segment))
    );
    return new Tensor(t.op, t.attributes, inputs, t.shape, t.dtype, segment.depth);
  }
}

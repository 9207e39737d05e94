/** Which items a step trains on: every epoch is a permutation, drawn from the seed alone. */
import { Random } from "./data/random.ts";

/**
 * Goes through `count` items again and again, each epoch in a new order. Position and order follow
 * from the seed and the step, so a resumed run needs no state, and methods that share a seed share
 * their batches.
 */
export class Sampler {
  private epoch = -1;
  private order: number[] = [];

  /** @param stream name of the stream, so that samplers of one seed are independent. */
  constructor(
    private readonly count: number,
    private readonly batch: number,
    private readonly seed: number,
    private readonly stream: string,
  ) {}

  /**
   * Items of a step, counted from 0.
   *
   * @throws {RangeError} where there are none, as in a trainer that is made for inference only.
   */
  indices(step: number): number[] {
    if (this.count < 1) {
      throw new RangeError(`There is nothing to draw ${this.stream} batches from.`);
    }
    return Array.from({ length: this.batch }, (_, i) => {
      const position = step * this.batch + i;
      this.enter(Math.floor(position / this.count));
      return this.order[position % this.count];
    });
  }

  private enter(epoch: number): void {
    if (epoch === this.epoch) return;
    const items = Array.from({ length: this.count }, (_, i) => i);
    this.order = new Random(this.seed).fork(this.stream, epoch).shuffled(items);
    this.epoch = epoch;
  }
}

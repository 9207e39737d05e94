import { dropout, foldKey, type Tensor } from "../mod.ts";
import type { Parameter } from "./parameter.ts";

/**
 * What a forward pass in training mode needs beyond its inputs: randomness for dropout, and a place
 * for new values of buffers. Modules that are not given one run in evaluation mode.
 */
export class Training {
  /** New values of buffers (running statistics), to be stored after the step. */
  readonly updates = new Map<Parameter, Tensor>();
  private draws = 0;

  /**
   * One forward pass.
   *
   * @param key u32 [2], data that the caller changes from step to step.
   */
  constructor(private readonly key: Tensor) {}

  /** A key that no other call on this object gets, the same in every run of the same graph. */
  nextKey(): Tensor {
    return foldKey(this.key, this.draws++);
  }

  /** Zeroes elements with probability `rate` and scales the others by 1 / (1 - rate). */
  dropout(x: Tensor, rate: number): Tensor {
    return rate === 0 ? x : dropout(x, rate, this.nextKey());
  }

  /** The value of a buffer so far: the one that is recorded last, else the one from before the pass. */
  valueOf(buffer: Parameter): Tensor {
    return this.updates.get(buffer) ?? buffer;
  }

  /** Records the new value of a buffer. */
  update(buffer: Parameter, value: Tensor): void {
    this.updates.set(buffer, value);
  }
}

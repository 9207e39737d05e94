/** Work that waits for its turn. */

/**
 * A queue: each piece of work begins when the one before has ended, well or not, in the order in which
 * they were asked for. Work must not wait for other work of its own queue.
 */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  /** What `work` gives, in its turn. */
  take<T>(work: () => T | Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    // Who asked for the work gets to know its errors.
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

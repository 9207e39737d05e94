/**
 * Self-sorting memory bank: keeps the memories that are confident and unlike each other, and draws
 * from them by similarity to the current image. Nothing in it is ordered by time.
 *
 * @module
 */

/** One memory: what the bank decides by, and whatever the caller stores with it. */
export interface MemoryItem<T> {
  /** Flattened memory map, compared between memories. */
  readonly memory: Float32Array;
  /** Flattened image embedding, compared with the current image. */
  readonly embedding: Float32Array;
  /** Predicted IoU of the mask behind the memory. */
  readonly iou: number;
  readonly payload: T;
}

/** Plain data of a bank for checkpoints; structured-clonable when the payloads are. */
export interface MemoryBankState<T> {
  readonly size: number;
  readonly iouSlack: number;
  readonly items: readonly MemoryItem<T>[];
}

/** Cosine of two vectors of equal length, in float64; 0 when one of them is zero. */
export function cosineSimilarity(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) {
    throw new RangeError(`vectors of ${a.length} and ${b.length} values cannot be compared.`);
  }
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  const norms = Math.sqrt(aa) * Math.sqrt(bb);
  return norms === 0 ? 0 : dot / norms;
}

/** Softmax of the cosines between one image and the bank, without temperature. */
export function resamplingProbabilities(cosines: ArrayLike<number>): Float64Array {
  const logits = Float64Array.from(cosines);
  const largest = Math.max(...logits);
  const weights = logits.map((c) => Math.exp(c - largest));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

/**
 * One index for each number of `units` (in [0, 1)), with replacement, by the inverse of the
 * cumulative probabilities: the first index whose cumulative probability exceeds the number.
 */
export function sampleIndices(
  probabilities: ArrayLike<number>,
  units: ArrayLike<number>,
): number[] {
  return Array.from(units, (u) => {
    let cumulative = 0;
    for (let j = 0; j < probabilities.length; j++) {
      cumulative += probabilities[j];
      if (cumulative > u) return j;
    }
    return probabilities.length - 1;
  });
}

/** The `count` most probable indices, most probable first, lower index first of equals. */
export function topIndices(probabilities: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: probabilities.length }, (_, i) => i)
    .sort((a, b) => probabilities[b] - probabilities[a] || a - b)
    .slice(0, count);
}

/**
 * Which item of a full bank a new memory replaces, or null when it is turned away.
 *
 * i is the item least like the new memory and k the one most like i. The new memory replaces k when
 * it is less like i than k is, and its IoU is more than that of k less `iouSlack`.
 *
 * @param toNew cosine of every item with the new memory
 * @param rowOf cosines of item i with every item; entry i is not read
 */
export function replacedIndex(
  toNew: ArrayLike<number>,
  rowOf: (i: number) => ArrayLike<number>,
  iou: number,
  ious: ArrayLike<number>,
  iouSlack: number,
): number | null {
  if (toNew.length < 2) {
    throw new RangeError(`replacing needs a bank of at least 2 items, not ${toNew.length}.`);
  }
  let i = 0;
  for (let j = 1; j < toNew.length; j++) if (toNew[j] < toNew[i]) i = j;
  const row = rowOf(i);
  let k = i === 0 ? 1 : 0;
  for (let j = k + 1; j < toNew.length; j++) if (j !== i && row[j] > row[k]) k = j;
  return toNew[i] < row[k] && iou > ious[k] - iouSlack ? k : null;
}

/** The bank; items are in order of arrival. IoUs are kept as float32, as predicted. */
export class MemoryBank<T> {
  readonly size: number;
  readonly iouSlack: number;
  #items: MemoryItem<T>[] = [];

  /** @param size greatest number of items, at least 2 */
  constructor(size: number, iouSlack = 0.1) {
    if (!Number.isInteger(size) || size < 2) {
      throw new RangeError(`a memory bank needs an integer size of at least 2, not ${size}.`);
    }
    this.size = size;
    this.iouSlack = iouSlack;
  }

  /** Items in order of arrival. */
  get items(): readonly MemoryItem<T>[] {
    return this.#items;
  }

  /** Empties the bank; done at the start of every volume, so that no memory crosses patients. */
  clear(): void {
    this.#items = [];
  }

  /** Probability of every item to be drawn for an image; the bank must not be empty. */
  probabilities(embedding: Float32Array): Float64Array {
    if (this.#items.length === 0) {
      throw new RangeError("an empty memory bank cannot be drawn from.");
    }
    return resamplingProbabilities(
      this.#items.map((item) => cosineSimilarity(embedding, item.embedding)),
    );
  }

  /** Training: one item index for each number of `units` in [0, 1), with replacement. */
  sample(embedding: Float32Array, units: ArrayLike<number>): number[] {
    return sampleIndices(this.probabilities(embedding), units);
  }

  /** Test: the `count` most probable item indices; fewer when the bank holds fewer. */
  top(embedding: Float32Array, count: number): number[] {
    return topIndices(this.probabilities(embedding), count);
  }

  /**
   * Offers a memory. It is appended while there is room; then it takes the place of another (which
   * leaves, the newcomer goes to the end) or is turned away.
   *
   * Returns the item that left, the new item itself when it was turned away, else undefined: what
   * the caller may free.
   */
  offer(item: MemoryItem<T>): MemoryItem<T> | undefined {
    const first = this.#items.at(0);
    if (first && (first.memory.length !== item.memory.length)) {
      throw new RangeError(
        `a memory of ${item.memory.length} values does not fit a bank of ${first.memory.length}.`,
      );
    }
    const entry = { ...item, iou: Math.fround(item.iou) };
    if (this.#items.length < this.size) {
      this.#items.push(entry);
      return undefined;
    }
    const like = (other: MemoryItem<T>) =>
      this.#items.map((m) => cosineSimilarity(other.memory, m.memory));
    const k = replacedIndex(
      like(entry),
      (i) => like(this.#items[i]),
      entry.iou,
      this.#items.map((m) => m.iou),
      this.iouSlack,
    );
    if (k === null) return item;
    const [left] = this.#items.splice(k, 1);
    this.#items.push(entry);
    return left;
  }

  /** Plain data for a checkpoint; shares the arrays with the bank. */
  state(): MemoryBankState<T> {
    return { size: this.size, iouSlack: this.iouSlack, items: [...this.#items] };
  }

  /** The bank that `state` came from. */
  static fromState<T>({ size, iouSlack, items }: MemoryBankState<T>): MemoryBank<T> {
    const bank = new MemoryBank<T>(size, iouSlack);
    if (items.length > size) {
      throw new RangeError(`${items.length} items do not fit a memory bank of size ${size}.`);
    }
    bank.#items = [...items];
    return bank;
  }
}

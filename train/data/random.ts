/** Seeded random numbers on the host: Threefry-2x32 with 20 rounds, a counter-based generator. */

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const PARITY = 0x1bd11bda;

/**
 * Two 32-bit words for a key and a counter.
 *
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011); the same function
 * as in Random123 and JAX.
 */
export function threefry2x32(
  key: readonly [number, number],
  counter: readonly [number, number],
): [number, number] {
  const k0 = key[0];
  const k1 = key[1];
  const k2 = k0 ^ k1 ^ PARITY;
  let a = (counter[0] + k0) | 0;
  let b = (counter[1] + k1) | 0;
  for (let group = 1; group <= 5; group++) {
    const first = group % 2 === 1 ? 0 : 4;
    for (let i = first; i < first + 4; i++) {
      const r = ROTATIONS[i]!;
      a = (a + b) | 0;
      b = ((b << r) | (b >>> (32 - r))) ^ a;
    }
    const turn = group % 3;
    a = (a + (turn === 0 ? k0 : turn === 1 ? k1 : k2)) | 0;
    b = (b + (turn === 0 ? k1 : turn === 1 ? k2 : k0) + group) | 0;
  }
  return [a >>> 0, b >>> 0];
}

/** What `Random` needs to go on where it was. */
export interface RandomState {
  readonly key: readonly [number, number];
  /** Number of 32-bit words drawn. */
  readonly drawn: number;
}

/** A stream of random numbers; streams of different seeds or forks are independent. */
export class Random {
  readonly #key: [number, number];
  #drawn = 0;
  #spare = 0;

  /** A stream for a seed (its 53 bits count). */
  constructor(seed: number) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  }

  /** A stream that goes on after `state`. */
  static from(state: RandomState): Random {
    const random = new Random(0);
    [random.#key[0], random.#key[1]] = state.key;
    random.#drawn = state.drawn - (state.drawn % 2);
    if (state.drawn % 2 === 1) random.next();
    return random;
  }

  get state(): RandomState {
    return { key: [...this.#key], drawn: this.#drawn };
  }

  /** An independent stream named by `path`, whatever was drawn here so far. */
  fork(...path: readonly (number | string)[]): Random {
    let key = this.#key;
    for (const part of path) {
      for (const code of typeof part === "number" ? [part] : Array.from(part, codePoint)) {
        // The high bit of the counter keeps forks apart from the words of the stream itself.
        key = threefry2x32(key, [code >>> 0, 0x80000000 | (typeof part === "number" ? 0 : 1)]);
      }
    }
    return Random.from({ key, drawn: 0 });
  }

  /** Uniform in 0 ... 2^32 - 1. */
  next(): number {
    if (this.#drawn++ % 2 === 1) return this.#spare;
    const block = (this.#drawn - 1) / 2;
    const [a, b] = threefry2x32(this.#key, [block >>> 0, Math.floor(block / 2 ** 32)]);
    this.#spare = b;
    return a;
  }

  /** Uniform in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.next() / 2 ** 32);
  }

  /** Uniform in 0 ... n - 1. */
  integer(n: number): number {
    return Math.floor((this.next() / 2 ** 32) * n);
  }

  /** Gaussian by the Box-Muller transform. */
  normal(mean = 0, deviation = 1): number {
    const radius = Math.sqrt(-2 * Math.log((this.next() + 1) / 2 ** 32));
    return mean + deviation * radius * Math.cos((2 * Math.PI * this.next()) / 2 ** 32);
  }

  /** A copy of `items` in random order (Fisher-Yates). */
  shuffled<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [copy[i], copy[j]] = [copy[j]!, copy[i]!];
    }
    return copy;
  }
}

function codePoint(character: string): number {
  return character.codePointAt(0) ?? 0;
}

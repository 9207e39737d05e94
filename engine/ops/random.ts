/**
 * Random numbers from a counter-based generator: element i is a hash of i and a key. The key is data,
 * so a new one each step costs no new plan, and equal keys give equal numbers on every adapter.
 */
import { numel, type Shape } from "../shape.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { cast } from "./cast.ts";
import { add, arange, cos, ge, log, lt, mul, shiftRight, sqrt, xor } from "./elementwise.ts";
import { reshape, slice } from "./movement.ts";

/** A key for a seed and a path of counters (step, layer …): two u32, as a leaf. */
export function randomKey(seed: number, ...path: readonly number[]): Tensor {
  return tensor(randomKeyData(seed, ...path));
}

/** The values of {@link randomKey}, for a leaf whose data is replaced each step. */
export function randomKeyData(
  seed: number,
  ...path: readonly number[]
): Uint32Array<ArrayBuffer> {
  let [a, b] = [mixWord(seed), mixWord(seed ^ 0x5bd1e995)];
  for (const counter of path) [a, b] = [mixWord(a ^ counter), mixWord(b + a + counter)];
  return Uint32Array.of(a, b);
}

/** An independent key for use number `n` within one graph. */
export function foldKey(key: Tensor, n: number): Tensor {
  return mixBits(xor(key, mixWord(n + 1)));
}

/** 32 random bits per element, u32. */
export function randomBits(key: Tensor, shape: Shape): Tensor {
  const count = numel(shape);
  const word = (i: number) => slice(key, 0, i, i + 1);
  const counter = mul(arange(count), 0x9e3779b9);
  return reshape(mixBits(xor(mixBits(add(counter, word(0))), word(1))), shape);
}

/** Uniform numbers in [0, 1), multiples of 2^-24. */
export function randomUniform(key: Tensor, shape: Shape): Tensor {
  return mul(cast(shiftRight(randomBits(key, shape), 8), "f32"), 2 ** -24);
}

/** Numbers of the standard normal distribution (Box-Muller). */
export function randomNormal(key: Tensor, shape: Shape): Tensor {
  // (0, 1], so that the logarithm is finite.
  const radius = add(randomUniform(foldKey(key, 0), shape), 2 ** -24);
  const angle = mul(randomUniform(foldKey(key, 1), shape), 2 * Math.PI);
  return mul(sqrt(mul(log(radius), -2)), cos(angle));
}

/** 1 with the given probability, else 0 (f32). */
export function randomBernoulli(key: Tensor, shape: Shape, probability: number): Tensor {
  return lt(randomUniform(key, shape), probability);
}

/** Sets elements to 0 with the given probability and scales the others so that the mean stays. */
export function dropout(x: Tensor, probability: number, key: Tensor): Tensor {
  if (probability === 0) return x;
  if (!(probability > 0 && probability < 1)) {
    throw new RangeError(`dropout: probability ${probability} is not in [0, 1).`);
  }
  const kept = ge(randomUniform(key, x.shape), probability);
  return mul(mul(x, cast(kept, x.dtype)), 1 / (1 - probability));
}

/** Rounds of the "lowbias32" integer hash: [shift, factor]. */
const ROUNDS = [[16, 0x21f0aaad], [15, 0x735a2d97]] as const;
const LAST_SHIFT = 15;

function mixWord(word: number): number {
  let x = word >>> 0;
  for (const [shift, factor] of ROUNDS) x = Math.imul(x ^ (x >>> shift), factor) >>> 0;
  return (x ^ (x >>> LAST_SHIFT)) >>> 0;
}

function mixBits(bits: Tensor): Tensor {
  let x = bits;
  for (const [shift, factor] of ROUNDS) x = mul(xor(x, shiftRight(x, shift)), factor);
  return xor(x, shiftRight(x, LAST_SHIFT));
}

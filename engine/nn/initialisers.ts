/** Initial values of parameters, as PyTorch draws them (in distribution, not bit for bit). */
import { numel, type Shape } from "../shape.ts";
import type { Initialiser } from "./parameter.ts";
import type { Random } from "./random.ts";

function fill(shape: Shape, next: () => number): Float32Array {
  const values = new Float32Array(numel(shape));
  for (let i = 0; i < values.length; i++) values[i] = next();
  return values;
}

/** One value everywhere. */
export const filledWith = (value: number): Initialiser => (shape) => fill(shape, () => value);

/** Uniform in [-bound, bound). */
export const uniform = (bound: number): Initialiser => (shape, random) =>
  fill(shape, () => (2 * random() - 1) * bound);

/**
 * PyTorch's default for linear and convolution layers, weights and biases alike: uniform within
 * 1 / sqrt(fan-in).
 */
export const fanIn = (inputs: number): Initialiser => uniform(1 / Math.sqrt(inputs));

function standardNormal(random: Random): number {
  // 1 - u lies in (0, 1], where the logarithm is finite.
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Normal with mean 0. */
export const normal = (std = 1): Initialiser => (shape, random) =>
  fill(shape, () => std * standardNormal(random));

/** Normal with mean 0, redrawn until it lies in [-2, 2] (absolute bounds, as PyTorch's default). */
export const truncatedNormal = (std: number): Initialiser => (shape, random) =>
  fill(shape, () => {
    for (;;) {
      const value = std * standardNormal(random);
      if (Math.abs(value) <= 2) return value;
    }
  });

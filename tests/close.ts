/** Comparison of kernel results with references. */
import { ok } from "node:assert/strict";

/** Deterministic values in [-1, 1), different for each seed. */
export function values(n: number, seed: number, scale = 1): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return scale * (((state >>> 8) / 2 ** 23) - 1);
  });
}

/** Fails unless every value is within `tolerance * (1 + |expected|)`; NaN never is. */
export function close(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  ok(actual.length === expected.length, `${what}: ${actual.length} values, not ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i] - expected[i]);
    ok(
      actual[i] === expected[i] || error <= tolerance * (1 + Math.abs(expected[i])),
      `${what}: element ${i} is ${actual[i]}, not ${expected[i]}`,
    );
  }
}

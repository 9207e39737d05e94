/** Numerical check of gradients by central differences along random directions. */
import { ok } from "node:assert/strict";
import {
  gradients,
  mul,
  readAll,
  reshape,
  sum,
  type Tensor,
  tensor,
  type TypedArray,
} from "../engine/mod.ts";
import { numel, type Shape, show } from "../engine/shape.ts";
import { hashValues } from "../train/parity/hash.ts";

/** Values of an input: drawn from [low, high), or given (integers are not differentiated). */
export interface Input {
  readonly shape: Shape;
  readonly low?: number;
  readonly high?: number;
  /** Distance that values keep from these points, where the function has kinks. */
  readonly avoid?: readonly number[];
  readonly data?: TypedArray;
}

/** A function of inputs, to be differentiated. */
export interface GradientCase {
  readonly inputs: readonly Input[];
  readonly f: (...x: Tensor[]) => Tensor;
  /** Step of the differences; small where the function bends much. */
  readonly step?: number;
}

const KINK_DISTANCE = 0.05;
const DIRECTIONS = 3;

function draw(input: Input, seed: string): TypedArray {
  if (input.data) return input.data;
  const { low = -1, high = 1, avoid = [] } = input;
  const values = hashValues(seed, numel(input.shape), (low + high) / 2, (high - low) / 2);
  return values.map((v) => {
    const kink = avoid.find((a) => Math.abs(v - a) < KINK_DISTANCE);
    return kink === undefined ? v : kink + (v < kink ? -KINK_DISTANCE : KINK_DISTANCE);
  });
}

/**
 * Checks the gradients of `sum(f(x) * w)` for fixed random w. Sums are taken on the host in float64,
 * so that only the rounding of the elements remains.
 */
export async function checkGradients(name: string, check: GradientCase): Promise<void> {
  const { inputs, f, step = 1e-2 } = check;
  const data = inputs.map((input, i) => draw(input, `${name}/${i}`));
  const leaves = data.map((d, i) => tensor(d, inputs[i].shape));
  const out = f(...leaves);
  const weights = hashValues(`${name}/weights`, out.size, 0.3, 1);
  const loss = sum(mul(reshape(out, [out.size]), tensor(weights)));
  const wanted = leaves.filter((_, i) => !inputs[i].data);
  const found = gradients(loss, wanted);
  const missing = found.findIndex((g) => !g);
  ok(missing < 0, `${name}: input ${missing} gets no gradient`);
  // Everything in one submission: reading back costs more than computing.
  const moves = wanted.flatMap((leaf) => {
    const at = leaves.indexOf(leaf);
    return Array.from({ length: DIRECTIONS }, (_, d) => {
      const direction = hashValues(`${name}/${at}/direction${d}`, leaf.size, 0, 1);
      const moved = (h: number) =>
        f(...leaves.map((x, i) =>
          i === at ? tensor(shifted(data[i] as Float32Array, direction, h), x.shape) : x
        ));
      return { at, direction, values: [moved(step), moved(-step)] };
    });
  });
  const results = await readAll([
    ...found as Tensor[],
    ...moves.flatMap(({ values }) => values),
  ]);
  const analytic = results.slice(0, wanted.length);
  const total = (values: ArrayLike<number>, factors: Float32Array) =>
    factors.reduce((sum, factor, i) => sum + values[i] * factor, 0);
  moves.forEach(({ at, direction }, k) => {
    const gradient = analytic[wanted.indexOf(leaves[at])];
    const [above, below] = results.slice(wanted.length + 2 * k);
    const numeric = (total(above, weights) - total(below, weights)) / (2 * step);
    const expected = total(gradient, direction);
    const limit = 2e-3 * Math.hypot(...gradient) + 2e-4;
    ok(
      Math.abs(numeric - expected) <= limit,
      `${name}: input ${at} ${
        show(inputs[at].shape)
      }: ${expected} instead of ${numeric} (± ${limit})`,
    );
  });
}

function shifted(x: Float32Array, direction: Float32Array, h: number): Float32Array {
  return x.map((v, i) => v + h * direction[i]);
}

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
  const analytic = await readAll(found as Tensor[]);
  const valueAt = async (moved: readonly TypedArray[]) => {
    const [values] = await readAll([f(...moved.map((d, i) => tensor(d, inputs[i].shape)))]);
    return values.reduce((total, v, i) => total + v * weights[i], 0);
  };
  for (const [k, leaf] of wanted.entries()) {
    const at = leaves.indexOf(leaf);
    const scale = Math.hypot(...analytic[k]);
    for (let d = 0; d < DIRECTIONS; d++) {
      const direction = hashValues(`${name}/${at}/direction${d}`, leaf.size, 0, 1);
      const move = (h: number) =>
        valueAt(data.map((x, i) => i === at ? shifted(x as Float32Array, direction, h) : x));
      const numeric = (await move(step) - await move(-step)) / (2 * step);
      const expected = analytic[k].reduce((total, g, i) => total + g * direction[i], 0);
      const limit = 2e-3 * scale + 2e-4;
      ok(
        Math.abs(numeric - expected) <= limit,
        `${name}: input ${at} ${show(leaf.shape)}: ${expected} instead of ${numeric} (± ${limit})`,
      );
    }
  }
}

function shifted(x: Float32Array, direction: Float32Array, h: number): Float32Array {
  return x.map((v, i) => v + h * direction[i]);
}

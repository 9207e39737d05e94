import {
  add,
  gradients,
  layerNorm,
  linear,
  mul,
  readAll,
  relu,
  square,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { onSchedule, unfused } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { stepsOf } from "./plans.ts";
import { strictEqual as equal } from "node:assert/strict";

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const make = (shape: readonly number[], seed: number) => tensor(values(numel(shape), seed), shape);

/** Parameter gradients of functions of x, each with the upstream gradient known beforehand. */
const LAYERS: Record<string, (x: Tensor) => Tensor[]> = {
  "a linear layer": (x) => {
    const [weight, bias] = [make([5, x.shape[1]], 1), make([5], 2)];
    const g = make([x.shape[0], 5], 3);
    return gradients(sum(mul(linear(x, weight, bias), g)), [weight, bias]) as Tensor[];
  },
  "layer normalisation": (x) => {
    const [weight, bias] = [make([x.shape[1]], 1), make([x.shape[1]], 2)];
    const g = make(x.shape, 3);
    return gradients(sum(mul(layerNorm(x, weight, bias), g)), [weight, bias]) as Tensor[];
  },
};

/** A network whose parameters serve twice, so that their gradients are added up in stores. */
function sharedTwice([rows, width]: readonly number[]): Tensor[] {
  const parameters = [
    make([width, width], 1),
    make([width], 2),
    make([width], 3),
    make([width], 4),
  ];
  const [weight, bias, scale, shift] = parameters;
  let x = make([rows, width], 5);
  for (let turn = 0; turn < 2; turn++) {
    x = add(x, relu(linear(layerNorm(x, scale, shift), weight, bias)));
  }
  return gradients(sum(square(x)), parameters) as Tensor[];
}

/** The last one is long enough for sums to be cut into parts. */
const SIZES: readonly (readonly number[])[] = [[7, 5], [33, 16], [130, 36], [4200, 6]];

for (const schedule of SCHEDULES) {
  Deno.test(`gradients of parameters are the same with sums on the way on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      for (const size of SIZES) {
        const x = make(size, 9);
        const all = [...Object.values(LAYERS).flatMap((f) => f(x)), ...sharedTwice(size)];
        const fused = await readAll(all);
        const apart = await unfused(() => readAll(all));
        const name = (i: number) => `gradient ${i} at [${size}]`;
        fused.forEach((result, i) => close(result as Float32Array, apart[i], 2e-4, name(i)));
      }
    }));
}

Deno.test("gradients of a layer's parameters share a dispatch on a CPU adapter", async () => {
  for (const schedule of ["cpu", "cpu-nosubgroup"]) {
    await onSchedule(schedule, async () => {
      const x = make([40, 24], 9);
      // The gradient of the layer's result comes first, or the statistics of the forward pass.
      equal(await stepsOf(LAYERS["a linear layer"](x)), 2);
      equal(await stepsOf(LAYERS["layer normalisation"](x)), 2);
    });
  }
});

import {
  add,
  linear,
  matmul,
  mul,
  readAll,
  relu,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { planOf, stepsOf } from "./plans.ts";
import { ok, strictEqual as equal } from "node:assert/strict";

const K = 8;

interface Case {
  readonly what: string;
  readonly shape: (m: number, n: number) => number[];
  readonly fuse: (product: Tensor, extra: Tensor) => Tensor;
  readonly expected: (sum: number, extra: Float32Array, i: number, j: number, size: Size) => number;
}

type Size = readonly [m: number, n: number];

const CASES: readonly Case[] = [
  {
    what: "a value for each column",
    shape: (_m, n) => [n],
    fuse: (product, extra) => relu(add(product, extra)),
    expected: (sum, extra, _i, j) => Math.max(0, sum + extra[j]),
  },
  {
    what: "a value for each row",
    shape: (m) => [m, 1],
    fuse: mul,
    expected: (sum, extra, i) => sum * extra[i],
  },
  {
    what: "a value for each element",
    shape: (m, n) => [m, n],
    fuse: add,
    expected: (sum, extra, i, j, [, n]) => sum + extra[i * n + j],
  },
  {
    what: "a transposed matrix",
    shape: (m, n) => [n, m],
    fuse: (product, extra) => add(product, transpose(extra, 0, 1)),
    expected: (sum, extra, i, j, [m]) => sum + extra[j * m + i],
  },
];

/** Sizes with whole vectors and without, and one that is cut into parts. */
const SIZES: readonly [...Size, k: number][] = [[6, 12, K], [40, 36, K], [5, 7, K], [48, 64, 1400]];

/** Products of one graph: as many as make their epilogue worth compiling on a CPU adapter. */
const REPEATS = 3;

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const make = (shape: number[], seed: number) => tensor(values(numel(shape), seed), shape);

for (const schedule of SCHEDULES) {
  for (const { what, shape, fuse, expected } of CASES) {
    Deno.test(`matmul() and ${what} are fused when run on ${schedule}`, () =>
      onSchedule(schedule, async () => {
        const sizes = Array.from({ length: REPEATS }, () => SIZES).flat();
        const fused = sizes.map(([m, n, k], seed) => {
          const [a, b, extra] = [make([m, k], seed), make([k, n], 50 + seed), make(shape(m, n), 9)];
          const wanted = Float64Array.from({ length: m * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            let sum = 0;
            for (let q = 0; q < k; q++) sum += a.host![i * k + q] * b.host![q * n + j];
            return expected(sum, extra.host as Float32Array, i, j, [m, n]);
          });
          return { wanted, result: fuse(matmul(a, b), extra) };
        });
        const targets = fused.map(({ result }) => result);
        const cut = sizes.filter(([, , k]) => k > K).length;
        equal((await planOf(targets)).steps.length, sizes.length + cut);
        const results = await readAll(targets);
        results.forEach((result, i) => close(result, fused[i].wanted, 2e-5, `${sizes[i]}`));
      }));
  }
}

/** Layers of different sizes. */
const layers = (count: number) =>
  Array.from({ length: count }, (_, i) => {
    const [rows, inputs, outputs] = [33 + i, 16 + 8 * (i % 3), 36 + 4 * i];
    const [x, weight, bias] = [[rows, inputs], [outputs, inputs], [outputs]];
    return relu(linear(make(x, 1), make(weight, 2), make(bias, 3)));
  });

Deno.test("linear() of different sizes shares its kernel on a CPU adapter", () =>
  onSchedule("cpu", async () => {
    const { steps } = await planOf(layers(10));
    equal(steps.length, 10);
    equal(new Set(steps.map(({ kernel }) => kernel.source)).size, 1);
    ok(steps.every(({ kernel }) => kernel.sizes));
  }));

Deno.test("an epilogue that occurs once stays apart on a CPU adapter only", async () => {
  equal(await onSchedule("cpu", () => stepsOf(layers(1))), 2);
  equal(await onSchedule("gpu", () => stepsOf(layers(1))), 1);
});

import { canonicalise } from "../engine/compile/graph.ts";
import { makePlan } from "../engine/compile/plan.ts";
import { activeProfile, useSchedule } from "../engine/evaluate.ts";
import {
  add,
  linear,
  matmul,
  mul,
  read,
  relu,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { heavyRules } from "../engine/primitives.ts";
import { close, values } from "./close.ts";
import { SCHEDULES } from "./kernel_harness.ts";
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
const SIZES: readonly [...Size, k: number][] = [[6, 12, K], [40, 36, K], [5, 7, K], [8, 12, 1100]];

for (const schedule of SCHEDULES) {
  for (const { what, shape, fuse, expected } of CASES) {
    Deno.test(`matmul() and ${what} are fused when run on ${schedule}`, async () => {
      useSchedule(schedule);
      try {
        for (const [m, n, k] of SIZES) {
          const [a, b] = [values(m * k, 1), values(k * n, 2)];
          const dims = shape(m, n);
          const extra = values(dims.reduce((x, y) => x * y, 1), 3);
          const product = matmul(tensor(a, [m, k]), tensor(b, [k, n]));
          const wanted = Float64Array.from({ length: m * n }, (_, at) => {
            const [i, j] = [Math.floor(at / n), at % n];
            let sum = 0;
            for (let q = 0; q < k; q++) sum += a[i * k + q] * b[q * n + j];
            return expected(sum, extra, i, j, [m, n]);
          });
          close(await read(fuse(product, tensor(extra, dims))), wanted, 2e-5, `${m}x${k}x${n}`);
        }
      } finally {
        useSchedule(undefined);
      }
    });
  }
}

Deno.test("linear() of different sizes shares its kernel on a CPU adapter", async () => {
  useSchedule("cpu");
  try {
    const profile = await activeProfile();
    const sources = new Set<string>();
    for (const [rows, inputs, outputs] of [[40, 16, 36], [33, 64, 100]]) {
      const [x, weight, bias] = [[rows, inputs], [outputs, inputs], [outputs]].map((shape) =>
        tensor(values(shape.reduce((a, b) => a * b, 1), 1), shape)
      );
      const graph = canonicalise([relu(linear(x, weight, bias))]);
      const plan = makePlan({ graph, reads: 1, profile, alignment: 256, rules: heavyRules });
      equal(plan.steps.length, 1);
      ok(plan.steps[0].kernel.sizes);
      sources.add(plan.steps[0].kernel.source);
    }
    equal(sources.size, 1);
  } finally {
    useSchedule(undefined);
  }
});

import { canonicalise } from "../engine/compile/graph.ts";
import { plainView, viewOf } from "../engine/compile/views.ts";
import {
  flip,
  gradients,
  mul,
  permute,
  readAll,
  reshape,
  scaledDotProductAttention,
  select,
  slice,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { stridesOf } from "../engine/shape.ts";
import { close, values } from "./close.ts";
import { onSchedule, unfused } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { stepsOf } from "./plans.ts";
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const make = (shape: readonly number[], seed = 1) => tensor(values(numel(shape), seed), shape);

interface Case {
  readonly what: string;
  /** Shape of the tensor that queries, keys and values are parts of. */
  readonly shape: readonly number[];
  readonly parts: (x: Tensor) => readonly [q: Tensor, k: Tensor, v: Tensor];
}

const heads = (x: Tensor) => permute(x, [0, 2, 1, 3]);

const CASES: readonly Case[] = [
  {
    what: "parts of one projection",
    shape: [2, 5, 3, 2, 8],
    parts: (x) => [0, 1, 2].map((i) => heads(select(x, 2, i))) as [Tensor, Tensor, Tensor],
  },
  {
    what: "parts that begin within a vector",
    shape: [1, 9, 22],
    parts: (x) =>
      [2, 8, 16].map((at) => heads(reshape(slice(x, 2, at, at + 6), [1, 9, 2, 3]))) as [
        Tensor,
        Tensor,
        Tensor,
      ],
  },
  {
    what: "every second token",
    shape: [2, 3, 34, 4],
    parts: (x) => [slice(x, 2, 0, 34, 2), slice(x, 2, 1, 34, 2), slice(x, 2, 0, 17)],
  },
];

for (const schedule of SCHEDULES) {
  for (const { what, shape, parts } of CASES) {
    Deno.test(`attention reads ${what} in place on ${schedule}`, () =>
      onSchedule(schedule, async () => {
        const x = make(shape);
        const out = scaledDotProductAttention(...parts(x));
        equal(await stepsOf([out.op === "permute" ? out.inputs[0] : out]), 1);
        const [gradient] = gradients(sum(mul(out, make(out.shape, 2))), [x]);
        const results = await readAll([out, gradient!]);
        const copied = await unfused(() => readAll([out, gradient!]));
        results.forEach((result, i) => close(result as Float32Array, copied[i], 1e-5, what));
      }));
  }
}

/** Elements of a view, row-major, as places in its base. */
function places(shape: readonly number[], first: number, strides: readonly number[]): number[] {
  const own = stridesOf(shape);
  return Array.from(
    { length: numel(shape) },
    (_, i) => shape.reduce((at, size, d) => at + Math.floor(i / own[d]) % size * strides[d], first),
  );
}

Deno.test("viewOf() finds the elements of permuted, cut and reshaped tensors", async () => {
  const x = tensor(Float32Array.from({ length: 144 }, (_, i) => i), [2, 6, 12]);
  const cut = slice(x, 1, 1, 6, 2);
  const views = [
    permute(reshape(cut, [2, 3, 3, 4]), [2, 0, 1, 3]),
    reshape(slice(x, 0, 1, 2), [2, 1, 3, 3, 4]),
    reshape(permute(x, [1, 0, 2]), [6, 1, 2, 2, 6]),
  ];
  const read = await readAll(views);
  canonicalise(views).targets.forEach((n, i) => {
    const { base, first, strides } = viewOf(n);
    equal(base.op, "leaf");
    deepEqual(places(n.shape, first, strides), [...read[i]]);
  });
});

Deno.test("viewOf() stops where strides cannot describe the movement", () => {
  const x = make([2, 3, 4]);
  const [joined, reversed] = canonicalise([
    reshape(permute(x, [1, 0, 2]), [6, 4]),
    flip(x, [1]),
  ]).targets;
  for (const n of [joined, reversed]) deepEqual(viewOf(n), plainView(n));
});

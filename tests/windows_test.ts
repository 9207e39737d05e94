import {
  add,
  amax,
  argmax,
  cat,
  conv2d,
  convTranspose2d,
  cumsum,
  gelu,
  indexSelect,
  interpolate,
  layerNorm,
  layerNorm2d,
  linear,
  logSoftmax,
  matmul,
  maxPool2d,
  mul,
  numel,
  padZeros,
  permute,
  readAll,
  relu,
  runtime,
  scaledDotProductAttention,
  type Shape,
  sigmoid,
  softmax,
  square,
  sum,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { binding, onSchedule } from "./engine_modes.ts";
import { close, values } from "./close.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { withGradients } from "./plans.ts";
import { ok } from "node:assert/strict";

/** A limit that cuts the largest of tensors in three, and those half as large in two. */
const limitFor = (tensors: readonly Tensor[]) => {
  const leaves = new Set<Tensor>();
  const visit = (t: Tensor) => {
    if (leaves.has(t)) return;
    leaves.add(t);
    t.inputs.forEach(visit);
  };
  tensors.forEach(visit);
  const stored = [...leaves].filter((t) => t.op === "leaf").concat(tensors);
  return Math.ceil(1.6 * Math.max(...stored.map(({ size }) => size)));
};

const leaf = (seed: number, ...shape: Shape) => tensor(values(numel(shape), seed), shape);

/** A function's value with the gradients of all its inputs, of some shapes. */
const both = (shapes: readonly Shape[], f: (...x: Tensor[]) => Tensor) => () =>
  withGradients(shapes.map((shape, i) => leaf(i, ...shape)), f);

const rows = Uint32Array.from({ length: 41 }, (_, i) => i * 7 % 33);

const manyRows = Uint32Array.from({ length: 300 }, (_, i) => i * 7 % 3);

/** Products and their gradients read factors in each order. */
const CASES: Readonly<Record<string, () => Tensor[]>> = {
  "elementwise work with broadcasts": both(
    [[17, 33], [33], [17, 1]],
    (x, row, column) => gelu(add(mul(x, row), column)),
  ),
  "movement": both(
    [[17, 36], [35, 16]],
    (x, y) => add(transpose(padZeros(x, [[1, 0], [0, 0]]), 0, 1), padZeros(y, [[0, 1], [2, 0]])),
  ),
  "sums and maxima": both(
    [[33, 34]],
    (x) => add(amax(sigmoid(x), 1), sum(mul(x, sum(x, 0)), 1)),
  ),
  "long sums": both([[3, 3000]], (x) => sum(square(x), 1)),
  "argmax": () => [argmax(leaf(1, 17, 33), 1)],
  "cat": both([[33, 17], [33, 15]], (x, y) => cat([relu(x), y], 1)),
  "indexSelect by a long index": both([[3, 2]], (x) => indexSelect(x, 0, tensor(manyRows))),
  "indexSelect": both([[33, 12]], (x) => indexSelect(x, 0, tensor(rows))),
  "softmax": both([[5, 133]], (x) => softmax(x, 1)),
  "logSoftmax across": both([[3, 7, 36]], (x) => logSoftmax(x, 1)),
  "layer norm": both([[17, 96], [96], [96]], (x, w, b) => layerNorm(x, w, b, 1e-5)),
  "layer norm across": both([[2, 5, 9, 9], [5], [5]], (x, w, b) => layerNorm2d(x, w, b, 1e-5)),
  "cumsum": both([[3, 260]], (x) => cumsum(x, 1)),
  "linear": both([[33, 20], [44, 20], [44]], (x, w, b) => relu(linear(x, w, b))),
  "matmul": both([[2, 17, 33], [2, 33, 35]], (a, b) => matmul(a, b)),
  "matmul A^T B^T": both(
    [[36, 20], [40, 36]],
    (a, b) => matmul(transpose(a, 0, 1), transpose(b, 0, 1)),
  ),
  "long matmul": both([[4, 4096], [4096, 12]], (a, b) => matmul(a, b)),
  "conv2d": both(
    [[2, 3, 17, 17], [12, 3, 3, 3], [12]],
    (x, w, b) => conv2d(x, w, b, { padding: 1 }),
  ),
  "strided conv2d": both(
    [[1, 3, 31, 32], [5, 3, 7, 7]],
    (x, w) => conv2d(x, w, undefined, { stride: 4, padding: 3 }),
  ),
  "depthwise conv2d": both(
    [[1, 8, 12, 12], [8, 1, 5, 5]],
    (x, w) => conv2d(x, w, undefined, { padding: 2, groups: 8 }),
  ),
  "convTranspose2d": both(
    [[1, 5, 8, 8], [5, 4, 2, 2]],
    (x, w) => convTranspose2d(x, w, undefined, { stride: 2 }),
  ),
  "attention": both(
    [[1, 2, 17, 24], [1, 2, 33, 24], [1, 2, 33, 24]],
    (q, k, v) => scaledDotProductAttention(q, k, v),
  ),
  "attention with a mask": both(
    [[1, 2, 17, 9], [1, 2, 33, 9], [1, 2, 33, 9], [1, 1, 17, 33]],
    (q, k, v, mask) => scaledDotProductAttention(q, k, v, { mask }),
  ),
  "max pooling": both(
    [[1, 3, 16, 18]],
    (x) => permute(maxPool2d(x, { kernel: 3, stride: 2 }), [0, 2, 3, 1]),
  ),
  "interpolate": both(
    [[1, 4, 9, 11]],
    (x) => interpolate(x, { size: [16, 17], mode: "bilinear" }),
  ),
};

for (const schedule of SCHEDULES) {
  Deno.test(`kernels give the same in windows when run on ${schedule}`, (t) =>
    onSchedule(schedule, async () => {
      const { counters } = await runtime();
      for (const [name, build] of Object.entries(CASES)) {
        await t.step(name, async () => {
          const targets = build();
          const whole = await readAll(targets);
          const before = counters.bindGroupsCreated;
          const windowed = await binding(limitFor(targets), () => readAll(targets));
          ok(counters.bindGroupsCreated > before);
          // Some sums are cut into other parts where less scratch memory is bound.
          whole.forEach((expected, i) => close(windowed[i], expected, 2e-6, `${name} ${i}`));
        });
      }
    }));
}

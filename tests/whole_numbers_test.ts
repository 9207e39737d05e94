/** Tensors of i32 and u32: exact, or refused in a sentence. */
import {
  abs,
  add,
  amax,
  amin,
  argmax,
  bitcast,
  cast,
  clamp,
  cumsum,
  div,
  exp,
  floor,
  full,
  interpolate,
  layerNorm,
  logSoftmax,
  maxPool2d,
  mean,
  mul,
  neg,
  norm,
  ones,
  pow,
  readAll,
  relu,
  reshape,
  shiftRight,
  sign,
  softmax,
  sum,
  type Tensor,
  tensor,
  transpose,
  variance,
  xor,
} from "../engine/mod.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";

/** Whole numbers that no f32 holds, of both signs and at both ends. */
const SIGNED = Int32Array.from(
  { length: 33 * 12 },
  (_, i) => i === 7 ? -(2 ** 31) : i === 9 ? 2 ** 31 - 1 : Math.imul(i + 1, 0x9e3779b1) >> (i % 9),
);

for (const schedule of SCHEDULES) {
  Deno.test(`sum(), amax(), amin() and argmax() of whole numbers are exact on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      for (const [rows, columns] of [[1, 1], [3, 17], [33, 12]]) {
        const signed = SIGNED.slice(0, rows * columns);
        for (const data of [signed, Uint32Array.from(signed)]) {
          const x = tensor(data, [rows, columns]);
          const own = (i: number) => [...data.slice(i * columns, (i + 1) * columns)];
          const lines = Array.from({ length: rows }, (_, i) => own(i));
          const wrapped = (values: number[]) =>
            data instanceof Int32Array ? Int32Array.from(values) : Uint32Array.from(values);
          const total = (line: readonly number[]) => line.reduce((a, b) => (a + b) | 0, 0);
          const down = transpose(x, 0, 1);
          const [sums, columnSums, largest, least, place, chained] = await readAll([
            ...[sum(x, 1), sum(down, 0), amax(x, 1), amin(down, 0), argmax(x, 1)],
            add(sum(mul(x, 3), 1), 1),
          ]);
          deepEqual(sums, wrapped(lines.map(total)));
          deepEqual(columnSums, sums);
          deepEqual(largest, wrapped(lines.map((line) => Math.max(...line))));
          deepEqual(least, wrapped(lines.map((line) => Math.min(...line))));
          deepEqual([...place], lines.map((line) => line.indexOf(Math.max(...line))));
          deepEqual(
            chained,
            wrapped(lines.map((line) => (Math.imul(total(line), 3) + 1) | 0)),
          );
        }
      }
    }));

  Deno.test(`reductions of whole numbers in pieces are exact on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const count = 140001;
      const data = Int32Array.from({ length: count }, (_, i) => i === 77777 ? 2 ** 30 + 1 : i);
      const x = tensor(data);
      const [total, largest, place] = await readAll([sum(x), amax(x), argmax(x, 0)]);
      deepEqual([...total], [data.reduce((a, b) => (a + b) | 0, 0)]);
      deepEqual([...largest], [2 ** 30 + 1]);
      deepEqual([...place], [77777]);
    }));
}

Deno.test("arithmetic of whole numbers wraps around, and division rounds towards 0", async () => {
  const x = tensor(Int32Array.of(-7, 7, 2 ** 31 - 1));
  const results = await readAll([
    ...[add(x, 1), div(x, 2), abs(x), neg(x), sign(x), clamp(x, -1, 5)],
    ...[shiftRight(bitcast(x, "u32"), 1), xor(bitcast(x, "u32"), 1)],
  ]);
  deepEqual(results.map((r) => [...r]), [
    ...[[-6, 8, -(2 ** 31)], [-3, 3, 2 ** 30 - 1], [7, 7, 2 ** 31 - 1]],
    ...[[7, -7, 1 - 2 ** 31], [-1, 1, 1], [-1, 5, 5]],
    ...[[2 ** 31 - 4, 3, 2 ** 30 - 1], [2 ** 32 - 8, 6, 2 ** 31 - 2]],
  ]);
});

Deno.test("ops that compute in f32 refuse whole numbers", () => {
  const x = tensor(Int32Array.of(1, 2, 3, 4));
  const map = reshape(x, [1, 1, 2, 2]);
  const refused: Record<string, (x: Tensor) => Tensor> = {
    ...{ exp, relu, floor, mean, variance, norm, reciprocalOf: (x) => div(1.5, x) },
    ...{ softmax: (x) => softmax(x, 0), logSoftmax: (x) => logSoftmax(x, 0) },
    ...{ cumsum: (x) => cumsum(x, 0), pow: (x) => pow(x, 3) },
    layerNorm: (x) => layerNorm(x, ones([4]), ones([4])),
    interpolate: () => interpolate(map, { size: [3, 3], mode: "nearest" }),
    maxPool2d: () => maxPool2d(map, { kernel: 2 }),
  };
  for (const [name, op] of Object.entries(refused)) {
    throws(() => op(x), /^TypeError: \w+: (the tensor is i32|1.5 is no i32)/, name);
  }
  throws(() => neg(cast(x, "u32")), /^TypeError: neg: the tensor is u32/);
  throws(() => add(x, 0.5), /^TypeError: add: 0.5 is no i32; cast the tensor/);
  throws(() => full([2], NaN, "u32"), /^TypeError: full: NaN is no u32/);
  throws(() => shiftRight(x, 1), /^TypeError: shiftRight: operands are i32, not u32/);
  throws(() => xor(ones([2]), ones([2])), /^TypeError: xor: operands are f32, not u32/);
  throws(() => shiftRight(cast(x, "u32"), 32), /^RangeError: shiftRight: 32 is not from 0 to 31/);
});

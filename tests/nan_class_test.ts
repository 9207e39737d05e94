import {
  add,
  amax,
  amin,
  argmax,
  clamp,
  constant,
  conv2d,
  cumsum,
  eq,
  erf,
  ge,
  gradients,
  gt,
  le,
  logSoftmax,
  logsumexp,
  lt,
  matmul,
  maximum,
  minimum,
  ne,
  readAll,
  relu,
  softmax,
  sum,
  type Tensor,
  tensor,
  transpose,
  where,
} from "../engine/mod.ts";
import { isNan, isTrue } from "../shaders/nan.ts";
import { values } from "./close.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";

/** NaN with its sign bit set: what processors make of infinity minus infinity. */
const NEGATIVE_NAN = new Float32Array(Uint32Array.of(0xffc00000).buffer)[0];
const SPECIAL = [NaN, NEGATIVE_NAN, Infinity, -Infinity, 0, -0, 1.5, -2.5, 3e38];
/** All pairs: as many as vectors hold, and one more that they do not. */
const PAIRS = SPECIAL.flatMap((a) => SPECIAL.map((b) => [a, b] as const));
const COUNTS = [PAIRS.length - 1, PAIRS.length];

/** Float32 values with the bits of NaN kept. */
function bits(list: readonly number[]): Float32Array {
  const data = Float32Array.from(list);
  const raw = new Uint32Array(data.buffer);
  list.forEach((v, i) => Object.is(v, NEGATIVE_NAN) && (raw[i] = i % 2 ? 0xffc00000 : 0x7fc00000));
  return data;
}

/** What PyTorch gives. */
type Elementwise = readonly [
  name: string,
  graph: (a: Tensor, b: Tensor) => Tensor,
  reference: (a: number, b: number) => number,
];

const ELEMENTWISE: readonly Elementwise[] = [
  ["relu", (a) => relu(a), (a) => Number.isNaN(a) ? NaN : Math.max(a, 0)],
  ["maximum", maximum, Math.max],
  ["maximum with a number", (a) => maximum(a, 1), (a) => Math.max(a, 1)],
  ["minimum", minimum, Math.min],
  ["clamp", (a) => clamp(a, -1, 1), (a) => Math.max(-1, Math.min(1, a))],
  ["clamp from below", (a) => clamp(a, 0), (a) => Math.max(0, a)],
  ["lt", lt, (a, b) => Number(a < b)],
  ["le", le, (a, b) => Number(a <= b)],
  ["gt", gt, (a, b) => Number(a > b)],
  ["ge", ge, (a, b) => Number(a >= b)],
  ["eq", eq, (a, b) => Number(a === b)],
  ["eq with itself", (a) => eq(a, a), (a) => Number(a === a)],
  ["ne", ne, (a, b) => Number(a !== b)],
  ["ne with itself", (a) => ne(a, a), (a) => Number(a !== a)],
  ["lt with a number", (a) => lt(a, 1), (a) => Number(a < 1)],
  // A truth value of PyTorch's is made of NaN as of any number but 0.
  ["where", (a, b) => where(a, b, 7), (a, b) => a !== 0 ? b : 7],
  ["where, other branch", (a, b) => where(a, 7, b), (a, b) => a !== 0 ? 7 : b],
];

function sameClass(got: ArrayLike<number>, wanted: readonly number[], what: string): void {
  equal(got.length, wanted.length);
  wanted.forEach((w, i) => {
    const same = Number.isNaN(w)
      ? Number.isNaN(got[i])
      : Number.isFinite(w)
      ? Math.abs(got[i] - w) <= 1e-5 * (1 + Math.abs(w))
      : got[i] === w;
    ok(same, `${what}, element ${i}: ${got[i]}, not ${w}`);
  });
}

/** A line of ordinary values in which some places hold others. */
type Line = (size: number) => number[];

const line = (...places: readonly (readonly [at: number, value: number])[]): Line => (size) => {
  const data = [...values(size, size, 3)];
  for (const [at, value] of places) data[at < 0 ? size + at : at] = value;
  return data;
};

const LINES: readonly Line[] = [
  line(),
  line([0, NaN]),
  line([-1, NaN]),
  line([1, NEGATIVE_NAN], [-1, NaN]),
  line([2, Infinity]),
  line([2, -Infinity]),
  line([0, -Infinity], [-1, Infinity]),
  line([1, NaN], [2, Infinity]),
  line([0, 1e4], [1, -1e4]),
  (size) => new Array<number>(size).fill(-Infinity),
  (size) => new Array<number>(size).fill(NEGATIVE_NAN),
];

/** Lines of one vector, within one subgroup, ragged, and longer than what registers hold. */
const LENGTHS = [3, 4, 17, 33, 132, 1091];

const largest = (x: readonly number[]) => x.reduce((a, b) => Math.max(a, b));

function softmaxOf(x: readonly number[], logarithm: boolean): number[] {
  const top = largest(x);
  const mass = x.reduce((total, v) => total + Math.exp(v - top), 0);
  return x.map((v) => logarithm ? v - top - Math.log(mass) : Math.exp(v - top) / mass);
}

function sumOfExp(x: readonly number[]): number {
  const top = largest(x);
  return top + Math.log(x.reduce((total, v) => total + Math.exp(v - top), 0));
}

function firstLargest(x: readonly number[]): number {
  const nan = x.findIndex(Number.isNaN);
  return nan >= 0 ? nan : x.indexOf(largest(x));
}

for (const schedule of SCHEDULES) {
  const on = (name: string, run: () => Promise<void>) =>
    Deno.test(`${name} when run on ${schedule}`, () => onSchedule(schedule, run));

  on("elementwise ops give PyTorch's NaN and infinities", async () => {
    for (const count of COUNTS) {
      const pairs = PAIRS.slice(0, count);
      const [a, b] = [0, 1].map((k) => constant(bits(pairs.map((pair) => pair[k]))));
      const results = await readAll(ELEMENTWISE.map(([, graph]) => graph(a, b)));
      ELEMENTWISE.forEach(([name, , reference], i) => {
        sameClass(results[i], pairs.map((pair) => reference(...pair)), name);
      });
    }
  });

  on(
    "amax(), amin(), argmax(), softmax() and logsumexp() give PyTorch's NaN and infinities",
    async () => {
      for (const length of LENGTHS) {
        const lines = LINES.map((line) => [...bits(line(length))]);
        const x = constant(bits(lines.flat()), [lines.length, length]);
        const down = transpose(x, 0, 1);
        const results = await readAll([
          ...[amax(x, 1), amax(down, 0), amin(x, 1), argmax(x, 1), argmax(down, 0)],
          ...[softmax(x, 1), transpose(softmax(down, 0), 0, 1)],
          ...[logSoftmax(x, 1), transpose(logSoftmax(down, 0), 0, 1), logsumexp(x, 1)],
        ]);
        const wanted = [
          ...[lines.map(largest), lines.map(largest)],
          lines.map((x) => -largest(x.map((v) => -v))),
          ...[lines.map(firstLargest), lines.map(firstLargest)],
          ...[false, false, true, true].map((log) => lines.flatMap((x) => softmaxOf(x, log))),
          lines.map((x) => Math.abs(largest(x)) === Infinity ? largest(x) : sumOfExp(x)),
        ];
        wanted.forEach((w, i) => sameClass(results[i], w, `result ${i} of ${length} values`));
      }
    },
  );

  on("amax() of parts is NaN where one of them is", async () => {
    const size = 40000;
    const results = await readAll([5, size - 1].map((at) => {
      const data = values(size, 1);
      data[at] = NaN;
      return amax(tensor(data));
    }));
    for (const [value] of results) ok(Number.isNaN(value));
  });

  on("an epilogue may need the functions of its kernel", async () => {
    const x = constant(values(64, 1), [16, 4]);
    const host = [...x.host!];
    const rows = Array.from({ length: 16 }, (_, i) => host.slice(4 * i, 4 * i + 4));
    const results = await readAll([
      maximum(amax(x, 1), 0.25),
      maximum(softmax(x, 1), 0.25),
      erf(sum(erf(x), [1])),
      maximum(add(cumsum(x, 1), 1), 0.25),
      maximum(matmul(x, transpose(x, 0, 1)), x.host![0]),
    ]);
    sameClass(results[0], rows.map((row) => Math.max(0.25, ...row)), "amax");
    sameClass(
      results[1],
      rows.flatMap((row) => softmaxOf(row, false)).map((v) => Math.max(v, 0.25)),
      "softmax",
    );
  });
}

/** Positions where a result is NaN. */
const nans = (x: ArrayLike<number>) => Array.from(x).flatMap((v, i) => Number.isNaN(v) ? [i] : []);

for (const schedule of SCHEDULES) {
  Deno.test(`sums, products and convolutions keep NaN where it belongs on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      for (const [m, k, n] of [[5, 7, 3], [33, 17, 36]]) {
        const data = values(m * k, 1);
        data[k + 2] = NaN;
        data[2 * k] = Infinity;
        const a = tensor(data, [m, k]);
        const b = tensor(values(k * n, 2).map((v) => v || 1), [k, n]);
        const image = values(m * n, 3);
        image[n + 1] = NaN;
        const weight = tensor(new Float32Array(9).fill(0.5), [1, 1, 3, 3]);
        const [row, columns, product, convolved] = await readAll([
          sum(a, [1]),
          sum(a, [0]),
          matmul(a, b),
          conv2d(tensor(image, [1, 1, m, n]), weight, undefined, { padding: 1 }),
        ]);
        deepEqual([nans(row), row[2]], [[1], Infinity]);
        deepEqual([nans(columns), columns[0]], [[2], Infinity]);
        deepEqual(nans(product), Array.from({ length: n }, (_, j) => n + j));
        ok(product.slice(2 * n, 3 * n).every((v) => Math.abs(v) === Infinity));
        const around = [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => i * n + j));
        deepEqual(nans(convolved), around);
      }
    }));
}

Deno.test("gradients of relu() and where() keep NaN out of branches that were not taken", async () => {
  const x = tensor(bits([-1, 2, NaN, Infinity]));
  const divided = where(gt(x, 0), x, 1);
  const [slope] = gradients(sum(where(gt(x, 0), relu(divided), 0)), [x]);
  sameClass((await readAll([slope!]))[0], [0, 1, 0, 1], "slope");
  const [passed] = gradients(sum(relu(x)), [x]);
  sameClass((await readAll([passed!]))[0], [0, 1, 1, 1], "PyTorch lets a gradient pass at NaN");
});

Deno.test("kernels test bits for NaN, never a value against itself", () => {
  equal(isNan("x", 1), "((bitcast<i32>(x) & i32(0x7fffffff)) > i32(0x7f800000))");
  equal(isTrue("x", 1), "((bitcast<i32>(x) & i32(0x7fffffff)) != i32(0))");
});

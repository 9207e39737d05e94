import {
  add,
  argmax,
  bitcast,
  cast,
  cat,
  constant,
  conv2d,
  convTranspose2d,
  cumsum,
  div,
  dropout,
  evaluate,
  exp,
  full,
  gelu,
  gradients,
  indexSelect,
  interpolate,
  layerNorm,
  layerNorm2d,
  leaf,
  linear,
  logSoftmax,
  matmul,
  maximum,
  maxPool2d,
  mul,
  numel,
  permute,
  pow,
  randomKey,
  read,
  readAll,
  runtime,
  scaledDotProductAttention,
  sigmoid,
  softmax,
  submit,
  sum,
  type Tensor,
  tensor,
  where,
} from "../engine/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { onAdapter, onSchedule, unfused } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

/**
 * Of the largest value of a result, or of a gradient and of those that it is made of: f16 rounds by
 * 2^-11 at most, and what is compared has passed through three stored tensors or fewer.
 */
const TOLERANCE = 3 * 2 ** -11;

const halves = (seed: string, ...shape: number[]) =>
  tensor(Float16Array.from(hashValues(seed, numel(shape), 0, 1)), shape);

const largest = (values: ArrayLike<number>) =>
  Array.from(values).reduce((most, x) => Math.max(most, Math.abs(x)), 0);

/** Results and gradients of f16 inputs agree with those of the same numbers in f32. */
async function agrees(
  name: string,
  shapes: readonly (readonly number[])[],
  build: (...x: Tensor[]) => Tensor,
): Promise<void> {
  const inputs = shapes.map((shape, i) => halves(`${name} ${i}`, ...shape));
  const run = async (x: readonly Tensor[]) => {
    const out = build(...x);
    const upstream = hashValues(`${name} upstream`, out.size, 0, 1);
    const loss = sum(mul(cast(out, "f32"), tensor(upstream, out.shape)));
    const tensors = [out, ...gradients(loss, x).map((g) => g!)];
    return { tensors, upstream, values: await readAll(tensors) };
  };
  const half = await run(inputs);
  const whole = await run(inputs.map((x) => tensor(Float32Array.from(x.host!), x.shape)));
  half.tensors.forEach((t, k) => {
    equal(t.dtype, "f16");
    ok(half.values[k] instanceof Float16Array);
    const expected = whole.values[k];
    const scale = k === 0
      ? largest(expected)
      : Math.max(largest(expected), largest(whole.upstream));
    expected.forEach((x, i) => {
      const error = Math.abs(half.values[k][i] - x);
      ok(
        error <= TOLERANCE * scale,
        `${name}, result ${k}, element ${i}: ${half.values[k][i]}, not ${x}`,
      );
    });
  });
}

type Case = readonly [
  name: string,
  shapes: readonly (readonly number[])[],
  build: (...x: Tensor[]) => Tensor,
];

/** Cases of size `n`. */
const cases = (n: number): Case[] => [
  ["gelu of a sum", [[n], [n]], (a, b) => gelu(add(a, b))],
  ["broadcasting", [[n, 3], [3]], (a, b) => mul(sigmoid(a), b)],
  ["maximum", [[n], [n]], maximum],
  ["exp", [[n]], exp],
  ["pow", [[n]], (a) => pow(add(mul(a, a), 0.5), 1.5)],
  ["join of parts", [[n, 3], [n, 2]], (a, b) => permute(cat([a, b], 1), [1, 0])],
  ["large join", [[n, 1024], [n, 33]], (a, b) => cat([a, b], 1)],
  ["rows", [[n, 5]], (a) => indexSelect(a, 0, tensor(Uint32Array.of(n - 1, 0, 0)))],
  ["sum of rows", [[n, 33]], (a) => sum(a, 1)],
  ["sum of columns", [[n, 33]], (a) => sum(a, 0)],
  ["sum of many", [[n, 4096]], (a) => sum(a, 1)],
  ["running sum", [[n, 3]], (a) => cumsum(a, 0)],
  ["matmul", [[n, 17], [17, n]], (a, b) => matmul(a, b)],
  ["matmul, left transposed", [[17, n], [17, n]], (a, b) => matmul(a, b, { transA: true })],
  ["matmul, right transposed", [[2, n, 17], [2, 33, 17]], (a, b) => matmul(a, b, { transB: true })],
  [
    "matmul, both transposed",
    [[n, 3], [n, n]],
    (a, b) => matmul(a, b, { transA: true, transB: true }),
  ],
  ["linear", [[n, 20], [n, 20], [n]], (x, w, b) => gelu(linear(x, w, b))],
  ["conv2d", [[1, 3, n, n], [5, 3, 3, 3], [5]], (x, w, b) => conv2d(x, w, b, { padding: 1 })],
  [
    "conv2d, stride 2",
    [[2, 3, n, n], [4, 3, 3, 3]],
    (x, w) => conv2d(x, w, undefined, { stride: 2, padding: 1 }),
  ],
  [
    "conv2d, depthwise",
    [[1, 3, n, n], [3, 1, 7, 7], [3]],
    (x, w, b) => conv2d(x, w, b, { padding: 3, groups: 3 }),
  ],
  [
    "convTranspose2d",
    [[1, 3, n, n], [3, 5, 2, 2], [5]],
    (x, w, b) => convTranspose2d(x, w, b, { stride: 2 }),
  ],
  [
    "attention",
    [[1, 2, n, 8], [1, 2, 17, 8], [1, 2, 17, 8]],
    (q, k, v) => scaledDotProductAttention(q, k, v),
  ],
  [
    "attention, causal",
    [[1, 2, n, 3], [1, 2, n, 3], [1, 2, n, 3]],
    (q, k, v) => scaledDotProductAttention(q, k, v, { causal: true }),
  ],
  [
    "attention with a mask",
    [[1, 1, n, 5], [1, 1, 3, 5], [1, 1, 3, 7], [n, 3]],
    (q, k, v, mask) => scaledDotProductAttention(q, k, v, { mask }),
  ],
  ["softmax", [[n, 33]], (a) => softmax(a, -1)],
  ["softmax across", [[3, n, 4]], (a) => softmax(a, 1)],
  ["logSoftmax", [[n, 3]], (a) => logSoftmax(a, -1)],
  ["layerNorm", [[n, 33], [33], [33]], (x, w, b) => layerNorm(x, w, b)],
  ["layerNorm of four", [[n, 64], [64], [64]], (x, w, b) => layerNorm(x, w, b)],
  ["layerNorm2d", [[1, 17, n, 3], [17], [17]], (x, w, b) => layerNorm2d(x, w, b)],
  ["maxPool2d", [[1, 3, n + 1, n + 1]], (x) => maxPool2d(x, { kernel: 2 })],
  [
    "interpolate",
    [[1, 2, n, n]],
    (x) => interpolate(x, { size: [n + 2, 2 * n], mode: "bilinear" }),
  ],
  ["dropout", [[n, 5]], (x) => dropout(x, 0.5, randomKey(1))],
  ["division", [[n], [n]], (a, b) => div(a, add(mul(b, b), 1))],
];

for (const schedule of SCHEDULES) {
  for (const n of [1, 3, 17, 33]) {
    Deno.test(`ops on f16 agree with f32 but for rounding when the size is ${n} on ${schedule}`, () =>
      onSchedule(schedule, async () => {
        for (const [name, ...rest] of cases(n)) await agrees(`${name} of ${n}`, ...rest);
      }));
  }
}

Deno.test("ops on f16 agree with f32 but for rounding when nothing is fused", () =>
  unfused(async () => {
    // Every op stores what it computes.
    for (const [name, ...rest] of cases(17)) {
      if (!/gelu|linear|pow/.test(name)) await agrees(`${name}, not fused`, ...rest);
    }
  }));

/** Ties, subnormal numbers, overflow, zeros of both signs, and what is no number. */
const NUMBERS = Float32Array.of(
  ...[1 + 2 ** -11, 1 + 3 * 2 ** -11, 65504, 65519, 65520, -1e6, 2 ** -24, 2 ** -25, 1.2e-7, 3e-8],
  ...[0, -0, Infinity, -Infinity, NaN, 1 / 3, -2049],
);

for (const schedule of ["cpu", "gpu"]) {
  Deno.test(`cast() rounds to f16 as Float16Array does on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const x = tensor(NUMBERS);
      const expected = new Float16Array(NUMBERS);
      deepEqual(await read(cast(x, "f16")), expected);
      // Within a kernel as well, though nothing is stored.
      deepEqual(await read(cast(cast(x, "f16"), "f32")), new Float32Array(expected));
      deepEqual(await read(tensor(expected)), expected);
      const integers = tensor(Int32Array.of(-3, 0, 70000));
      deepEqual([...await read(cast(integers, "f16"))], [-3, 0, Infinity]);
      deepEqual([...await read(cast(tensor(Float16Array.of(2.75, -1.5)), "i32"))], [2, -1]);
      const odd = constant(expected.slice(0, 3));
      deepEqual(await read(add(odd, 0)), expected.slice(0, 3));
    }));
}

Deno.test("f16 tensors of odd length are kept, written and read whole", async () => {
  const x = mul(halves("kept", 17), 2);
  const before = await read(x);
  await evaluate([x]);
  deepEqual(await read(x), before);
  const rt = await runtime();
  const buffer = rt.createBuffer(34);
  await submit({ write: [[mul(x, 2), { buffer, offset: 0 }]] });
  deepEqual(await read(leaf({ buffer, offset: 0 }, [17], "f16")), before.map((v) => 2 * v));
  // A copy: the value is read back too.
  const y = mul(x, 3);
  const [[values]] = [await (await submit({ read: [y], write: [[y, { buffer, offset: 0 }]] }))()];
  deepEqual(await read(leaf({ buffer, offset: 0 }, [17], "f16")), values);
  rt.destroyBuffer(buffer);
});

Deno.test("fused ops on f16 round once, where a value is stored", async () => {
  const x = tensor(Float16Array.of(1, 300));
  // 1 + 2^-12 is no f16, and 300 squared is too large for one.
  deepEqual([...await read(mul(add(x, 2 ** -12), 4096))], [4097, Infinity].map(Math.f16round));
  deepEqual([...await read(div(mul(x, x), 300))], [1 / 300, 300].map(Math.f16round));
  deepEqual([...await read(argmax(tensor(Float16Array.of(1, 7, 3)), 0))], [1]);
  deepEqual([...await read(full([2], 0.1, "f16"))], [0.1, 0.1].map(Math.f16round));
  const chosen = where(tensor(Float16Array.of(0, 1, -0)), tensor(Float16Array.of(1, 2, 3)), 9);
  deepEqual([...await read(chosen)], [9, 2, 9]);
});

Deno.test("ops refuse f16 beside f32 when nobody has chosen a type", () => {
  const [half, whole] = [halves("a", 2, 2), tensor(new Float32Array(4), [2, 2])];
  const message = /f16 and f32|f32 and f16/;
  throws(() => add(half, whole), message);
  throws(() => matmul(half, whole), message);
  throws(
    () => conv2d(tensor(new Float16Array(4), [1, 1, 2, 2]), tensor([1], [1, 1, 1, 1])),
    message,
  );
  throws(() => bitcast(half, "u32"), /f16/);
});

Deno.test("plans with f16 are refused in one sentence when the adapter lacks the feature", () =>
  onAdapter({ f16: false }, async () => {
    const { device } = await runtime();
    await rejects(read(mul(halves("no feature", 5), 11)), (error: Error) => {
      ok(error.message.includes(device.name) && error.message.includes("shader-f16"));
      return true;
    });
  }));

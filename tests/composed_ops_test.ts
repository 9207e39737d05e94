import { deepStrictEqual as deepEqual, ok, throws } from "node:assert/strict";
import {
  add,
  applyRotary,
  arange,
  axialRotary,
  batchNorm2d,
  cast,
  clamp,
  embedding,
  full,
  gradients,
  indexSelect,
  interpolate,
  logsumexp,
  maxPool2d,
  mul,
  norm,
  oneHot,
  pad,
  pow,
  read,
  readAll,
  reshape,
  sum,
  takeAlong,
  tensor,
  where,
  windowPartition,
  windowUnpartition,
} from "../engine/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { checkGradients } from "./gradcheck.ts";

function close(actual: ArrayLike<number>, expected: readonly number[], tolerance = 1e-5): void {
  deepEqual(actual.length, expected.length);
  expected.forEach((e, i) => ok(Math.abs(actual[i] - e) <= tolerance, `${i}: ${actual[i]} ${e}`));
}

Deno.test("takeAlong() follows torch.gather in every dimension", async () => {
  const shape = [2, 3, 4];
  const x = Float32Array.from({ length: 24 }, (_, i) => i);
  for (const [dim, count] of [[0, 3], [1, 2], [2, 5]]) {
    const outShape = shape.map((n, i) => i === dim ? count : n);
    const size = outShape.reduce((a, b) => a * b);
    const index = Uint32Array.from({ length: size }, (_, i) => (i * 5 + 1) % shape[dim]);
    const values = await read(takeAlong(tensor(x, shape), dim, tensor(index, outShape)));
    for (let i = 0; i < size; i++) {
      const at = [
        Math.floor(i / (outShape[1] * outShape[2])),
        Math.floor(i / outShape[2]) % outShape[1],
        i % outShape[2],
      ];
      at[dim] = index[i];
      deepEqual(values[i], x[(at[0] * 3 + at[1]) * 4 + at[2]]);
    }
  }
  const wrong = tensor(new Uint32Array(4), [2, 2]);
  throws(() => takeAlong(tensor(x, shape), 1, wrong), /does not fit \[2, 3, 4\]/);
});

Deno.test("takeAlong() adds up gradients of elements taken twice", async () => {
  const x = tensor([1, 2, 3], [1, 3]);
  const index = tensor(Uint32Array.of(2, 0, 2), [1, 3]);
  const weights = tensor([1, 10, 100], [1, 3]);
  const [g] = gradients(sum(mul(takeAlong(x, 1, index), weights)), [x]);
  deepEqual([...await read(g!)], [10, 0, 101]);
});

Deno.test("oneHot() and embedding() take integers of any shape", async () => {
  const index = tensor(Uint32Array.of(2, 0), [2, 1]);
  const table = tensor([1, 2, 3, 4, 5, 6], [3, 2]);
  const [hot, rows] = await readAll([oneHot(index, 3), embedding(table, index)]);
  deepEqual([...hot], [0, 0, 1, 1, 0, 0]);
  deepEqual([...rows], [5, 6, 1, 2]);
});

Deno.test("maxPool2d() with overlapping windows gives ties to the first place", async () => {
  const x = tensor([1, 3, 3, 0, 3, 2, 0, 0, 1, 1, 3, 3, 0, 5, 5, 4], [1, 1, 4, 4]);
  const pooled = maxPool2d(x, { kernel: 3, stride: 1 });
  const weights = tensor([1, 10, 100, 1000], [1, 1, 2, 2]);
  const [g] = gradients(sum(mul(pooled, weights)), [x]);
  const [values, gradient] = await readAll([pooled, g!]);
  deepEqual([...values], [3, 3, 5, 5]);
  deepEqual([...gradient], [0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1100, 0, 0]);
  throws(() => maxPool2d(x, { kernel: 5 }), /kernel 5 does not fit/);
});

Deno.test("maxPool2d() leaves incomplete windows out", async () => {
  const x = reshape(cast(arange(35), "f32"), [1, 1, 5, 7]);
  deepEqual([...await read(maxPool2d(x, { kernel: 2 }))], [8, 10, 12, 22, 24, 26]);
});

Deno.test("batchNorm2d() normalises by the batch and moves the running statistics", async () => {
  const [batch, channels, side] = [3, 2, 4];
  const data = hashValues("batch norm", batch * channels * side * side, 0.5, 2);
  const x = tensor(data, [batch, channels, side, side]);
  const parameters = [tensor([2, -1]), tensor([0.5, 0])] as const;
  const before = { mean: tensor([1, 1]), variance: tensor([2, 2]) };
  const trained = batchNorm2d(x, ...parameters, before, { training: true });
  const evaluated = batchNorm2d(x, ...parameters, before, { training: false });
  const [out, mean, variance, plain] = await readAll([
    trained.out,
    trained.running.mean,
    trained.running.variance,
    evaluated.out,
  ]);
  const plane = side * side;
  const count = batch * plane;
  for (let c = 0; c < channels; c++) {
    const own = data.filter((_, i) => Math.floor(i / plane) % channels === c);
    const m = own.reduce((a, b) => a + b, 0) / count;
    const v = own.reduce((a, b) => a + (b - m) ** 2, 0) / count;
    close([mean[c], variance[c]], [0.9 + 0.1 * m, 1.8 + 0.1 * v * count / (count - 1)]);
    const [w, b] = [[2, 0.5], [-1, 0]][c];
    const select = (values: ArrayLike<number>) =>
      Array.from(values).filter((_, i) => Math.floor(i / plane) % channels === c);
    close(select(out), [...own].map((u) => (u - m) / Math.sqrt(v + 1e-5) * w + b));
    close(select(plain), [...own].map((u) => (u - 1) / Math.sqrt(2 + 1e-5) * w + b));
  }
  const single = tensor([1, 2], [1, 2, 1, 1]);
  throws(
    () => batchNorm2d(single, ...parameters, before, { training: true }),
    /two values per channel/,
  );
});

Deno.test("batchNorm2d() has the gradients of its differences in training", async () => {
  const running = { mean: tensor([0, 0]), variance: tensor([1, 1]) };
  await checkGradients("batchNorm2d", {
    inputs: [{ shape: [3, 2, 2, 3] }, { shape: [2] }, { shape: [2] }],
    f: (x, w, b) => batchNorm2d(x, w, b, running, { training: true }).out,
  });
});

Deno.test("applyRotary() repeats its tables and leaves excluded tokens alone", async () => {
  const { cos, sin } = axialRotary(8, 2, 1, 100);
  const data = hashValues("rotary", 5 * 8, 0, 1);
  const x = tensor(data, [1, 5, 8]);
  const values = await read(applyRotary(x, cos, sin, { excluded: 1 }));
  // Token 1 lies at x = 1: its first pairs turn by 1 and by 100^(-4 / 8); the y pairs stay.
  const turned = (at: number, angle: number) => [
    data[at] * Math.cos(angle) - data[at + 1] * Math.sin(angle),
    data[at + 1] * Math.cos(angle) + data[at] * Math.sin(angle),
  ];
  for (const token of [1, 3]) {
    const at = token * 8;
    const expected = [...turned(at, 1), ...turned(at + 2, 0.1), ...data.subarray(at + 4, at + 8)];
    close(values.subarray(at, at + 8), expected, 1e-6);
  }
  for (const token of [0, 2, 4]) {
    deepEqual(values.slice(token * 8, token * 8 + 8), data.slice(token * 8, token * 8 + 8));
  }
  throws(() => applyRotary(x, cos, sin), /do not fit \[1, 5, 8\]/);
  throws(() => axialRotary(6, 2, 2, 100), /multiple of 4/);
});

Deno.test("windowUnpartition() undoes windowPartition() and refuses a wrong cover", async () => {
  const data = hashValues("windows", 2 * 5 * 7 * 3, 0, 1);
  const { windows, padded } = windowPartition(tensor(data, [2, 5, 7, 3]), 4);
  deepEqual([windows.shape, padded], [[8, 4, 4, 3], [8, 8]]);
  deepEqual(await read(windowUnpartition(windows, 4, padded, [5, 7])), data);
  throws(() => windowUnpartition(windows, 4, [12, 8], [5, 7]), /do not cover/);
});

Deno.test("interpolate() returns the tensor itself at its own size and refuses bad options", () => {
  const x = full([1, 1, 4, 6], 1);
  ok(interpolate(x, { size: [4, 6], mode: "bicubic" }) === x);
  throws(() => interpolate(x, { mode: "nearest" }), /either size or scaleFactor/);
  throws(() => interpolate(x, { size: [0, 1], mode: "nearest" }), /size \[0,1\]/);
  throws(() => interpolate(x, { size: [2, 2], mode: "nearest", antialias: true }), /no antialias/);
});

Deno.test("pad() surrounds with the value when one is given, and passes gradients inside", async () => {
  const x = tensor([1, 2, 3], [1, 3]);
  const padded = pad(x, [[1, 0], [2, 1]], -7);
  const [slope] = gradients(sum(mul(padded, padded)), [x]);
  const [values, found] = await readAll([padded, slope!]);
  deepEqual([...values], [-7, -7, -7, -7, -7, -7, -7, -7, 1, 2, 3, -7]);
  deepEqual([...found], [2, 4, 6]);
});

Deno.test("rows that a computed index does not find are NaN, and get no gradient", async () => {
  const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  const far = (...rows: number[]) => add(tensor(Uint32Array.from(rows)), 1);
  const rows = indexSelect(x, 0, far(0, 1, 9));
  const along = takeAlong(x, 1, reshape(far(2, 0), [2, 1]));
  const kept = sum(where(tensor([1, 0, 0], [3, 1]), rows, 0));
  const [slope] = gradients(add(kept, sum(rows)), [x]);
  const whole = indexSelect(tensor(Int32Array.of(7, 8)), 0, far(0, 1));
  const [a, b, c, d] = await readAll([rows, along, slope!, whole]);
  deepEqual([...a], [4, 5, 6, NaN, NaN, NaN, NaN, NaN, NaN]);
  deepEqual([...b], [NaN, 5]);
  deepEqual([...c], [0, 0, 0, 2, 2, 2]);
  deepEqual([...d], [8, 0]);
});

Deno.test("norm(), pow() and logsumexp() have PyTorch's values and slopes at 0 and infinity", async () => {
  const x = tensor([0, 0, 3, 4], [2, 2]);
  const y = tensor([2, 0, 1, 3], [2, 2]);
  const [dNorm] = gradients(sum(norm(x, 1)), [x]);
  const [dBase, dExponent] = gradients(sum(pow(x, y)), [x, y]);
  const extremes = tensor([-Infinity, -Infinity, Infinity, 1, NaN, 1], [3, 2]);
  const [length, a, b, c, joined] = await readAll([
    ...[norm(x, 1), dNorm!, dBase!, dExponent!, logsumexp(extremes, 1)],
  ]);
  close(length, [0, 5]);
  close(a, [0, 0, 0.6, 0.8]);
  close(b, [0, 0, 1, 48], 1e-4);
  close(c, [0, 0, 3 * Math.log(3), 64 * Math.log(4)], 1e-3);
  deepEqual([...joined], [-Infinity, Infinity, NaN]);
});

Deno.test("clamp() gives the upper limit everywhere when the lower one is above it", async () => {
  deepEqual([...await read(clamp(tensor([1, 3, 5]), 4, 2))], [2, 2, 2]);
});

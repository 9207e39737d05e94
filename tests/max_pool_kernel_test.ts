import {
  lowerMaxPool,
  lowerMaxPoolBackward,
  type PoolShape,
  windowsIn,
} from "../shaders/max_pool.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";
import { deepStrictEqual as deepEqual } from "node:assert/strict";

type Size = readonly [images: number, rows: number, columns: number, channels: number];

/** A pool whose x lies one element after another. */
function shape([images, rows, columns, channels]: Size, kernel: number, stride: number): PoolShape {
  const strides = [rows * columns * channels, columns * channels, channels] as const;
  return { images, rows, columns, channels, kernel, stride, first: 0, strides };
}

const sizesOf = ({ images, rows, columns, channels, kernel, stride }: PoolShape) => {
  const [y, x] = [windowsIn(rows, kernel, stride), windowsIn(columns, kernel, stride)];
  return { windows: [y, x] as const, results: images * y * x * channels };
};

/** The results, and the gradient of x, in plain loops. */
function reference(s: PoolShape, x: Float32Array, g: Float32Array) {
  const { windows: [height, width], results } = sizesOf(s);
  const [out, dx] = [
    new Float64Array(results),
    new Float64Array(s.images * s.rows * s.columns * s.channels),
  ];
  for (let i = 0; i < results; i++) {
    const channel = i % s.channels;
    const [column, row] = [Math.floor(i / s.channels), Math.floor(i / s.channels / width)];
    const image = Math.floor(row / height);
    let best = -1;
    let found = 0;
    for (let tap = 0; tap < s.kernel ** 2; tap++) {
      const [y, z] = [Math.floor(tap / s.kernel), tap % s.kernel];
      const place = [row % height * s.stride + y, column % width * s.stride + z];
      const value = x[
        s.first + image * s.strides[0] + place[0] * s.strides[1] + place[1] * s.strides[2] + channel
      ];
      if (best >= 0 && !(value > found)) continue;
      best = ((image * s.rows + place[0]) * s.columns + place[1]) * s.channels + channel;
      found = value;
    }
    out[i] = found;
    dx[best] += g[i];
  }
  return { out, dx };
}

/** Vectors and scalars, windows apart, side by side and over each other, a part of a larger tensor. */
const SHAPES: readonly PoolShape[] = [
  shape([2, 4, 6, 8], 2, 2),
  shape([1, 5, 7, 3], 2, 2),
  shape([2, 7, 5, 4], 3, 1),
  shape([1, 9, 4, 1], 2, 3),
  shape([1, 1, 1, 5], 1, 1),
  { ...shape([2, 4, 4, 4], 2, 2), first: 4, strides: [256, 48, 12] },
  { ...shape([1, 3, 4, 2], 2, 1), first: 3, strides: [99, 33, 7] },
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerMaxPool() and its gradient agree with loops when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const s of SHAPES) {
      const { results } = sizesOf(s);
      const count = s.images * s.rows * s.columns * s.channels;
      // Few different values, so that there are ties, and no -0.
      const x = values(s.first + s.images * s.strides[0] + 16, 1).map((v) => Math.round(v * 4) + 0);
      const [g, more] = [values(results, 2), values(count, 3)];
      const expected = reference(s, x, g);
      const forward = lowerMaxPool(s, device.profile);
      const { label } = forward.steps[0].kernel;
      const [out] = await runLowering(device, forward, [x], [results]);
      deepEqual([...out], [...expected.out], label);
      const backward = lowerMaxPoolBackward(s, device.profile, SCALE_AND_ADD);
      const [dx] = await runLowering(device, backward, [x, g], [count], [more]);
      close(dx, expected.dx.map((value, i) => 2 * value + more[i]), 1e-5, label);
    }
  });

  Deno.test(`lowerMaxPool() gives NaN where there is one when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const x = Float32Array.of(1, NaN, 3, 4, 5, 6, -Infinity, -7);
    const s = shape([1, 2, 4, 1], 2, 2);
    const [out] = await runLowering(device, lowerMaxPool(s, device.profile), [x], [2]);
    deepEqual([...out], [NaN, 4]);
  });
}

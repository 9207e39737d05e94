import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { Random } from "../train/data/random.ts";
import {
  argmaxLabels,
  probabilitiesToGrid,
  resizeBilinear,
  resizeNearest,
} from "../train/data/resize.ts";

Deno.test("resizeNearest() takes pixel centres when it enlarges and shrinks", () => {
  const row = Uint8Array.of(0, 1, 2);
  deepEqual([...resizeNearest(row, [1, 1, 3], [1, 6])], [0, 0, 1, 1, 2, 2]);
  deepEqual([...resizeNearest(row, [1, 1, 3], [1, 1])], [1]);
  deepEqual([...resizeNearest(row, [1, 1, 3], [1, 2])], [0, 2]);
  deepEqual([...resizeNearest(row, [1, 1, 3], [1, 5])], [0, 0, 1, 2, 2]);
  // Two planes stay apart.
  deepEqual([...resizeNearest(Float32Array.of(1, 2, 3, 4), [2, 2, 1], [1, 2])], [2, 2, 4, 4]);
});

Deno.test("resizeNearest() gives labels back when they were enlarged by a whole factor", () => {
  const random = new Random(0);
  const labels = Uint8Array.from({ length: 2 * 7 * 5 }, () => random.integer(4));
  const large = resizeNearest(labels, [2, 7, 5], [21, 15]);
  deepEqual(resizeNearest(large, [2, 21, 15], [7, 5]), labels);
});

Deno.test("resizeBilinear() gives PyTorch's values when corners are not aligned", () => {
  // torch.nn.functional.interpolate([[0, 1, 2]], size=6 | 2, mode="linear"): by its formula.
  const row = Float32Array.of(0, 1, 2);
  deepEqual([...resizeBilinear(row, [1, 1, 3], [1, 6])], [0, 0.25, 0.75, 1.25, 1.75, 2]);
  deepEqual([...resizeBilinear(row, [1, 1, 3], [1, 2])], [0.25, 1.75]);
  deepEqual([...resizeBilinear(row, [1, 3, 1], [2, 1])], [0.25, 1.75]);
  deepEqual([...resizeBilinear(Float32Array.of(5), [1, 1, 1], [2, 2])], [5, 5, 5, 5]);
});

Deno.test("resizeBilinear() keeps a plane's slope inside", () => {
  const [h, w] = [9, 11];
  const plane = Float32Array.from({ length: h * w }, (_, i) => 2 * Math.floor(i / w) + (i % w));
  const out = resizeBilinear(plane, [1, h, w], [27, 22]);
  for (let y = 3; y < 24; y++) {
    for (let x = 2; x < 20; x++) {
      const expected = 2 * ((y + 0.5) / 3 - 0.5) + ((x + 0.5) / 2 - 0.5);
      ok(Math.abs(out[y * 22 + x]! - expected) < 1e-4); // float32 rounding of values up to 30
    }
  }
});

Deno.test("probabilitiesToGrid() and argmaxLabels() give the labels of the original grid", () => {
  const classes = 3;
  const small = new Float32Array(classes * 2 * 4 * 4);
  for (let i = 0; i < 32; i++) small[(i % 4 < 2 ? 1 : 2) * 32 + i] = 1;
  const large = probabilitiesToGrid(small, classes, [2, 4, 4], [8, 6]);
  equal(large.length, classes * 2 * 8 * 6);
  const labels = argmaxLabels(large, classes);
  for (let i = 0; i < labels.length; i++) equal(labels[i], i % 6 < 3 ? 1 : 2);
});

Deno.test("resizing refuses data when they do not fill the shape", () => {
  throws(
    () => resizeNearest(new Uint8Array(5), [1, 2, 3], [1, 1]),
    /5 values do not fill .*1, 2, 3/,
  );
  throws(() => resizeBilinear(new Float32Array(6), [1, 2, 3], [0, 4]), /0 x 4 pixels/);
  throws(() => argmaxLabels(new Float32Array(5), 2), /5 values cannot be split into 2 classes/);
});

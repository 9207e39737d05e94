import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import {
  type Band,
  isIdentity,
  type ResampleMode,
  resizeBand,
  transposeBand,
} from "../engine/ops/resample_tables.ts";

const MODES: readonly [ResampleMode, boolean][] = [
  ["nearest", false],
  ["bilinear", false],
  ["bilinear", true],
  ["bicubic", false],
  ["bicubic", true],
];
const SIZES = [1, 2, 3, 5, 17, 33];

/** The band as a [length][size] matrix. */
function dense({ starts, weights, length, taps }: Band, size: number): number[][] {
  return Array.from({ length }, (_, i) => {
    const row = new Array<number>(size).fill(0);
    for (let t = 0; t < taps; t++) row[starts[i] + t] += weights[i * taps + t];
    return row;
  });
}

function eachBand(check: (band: Band, size: number, name: string) => void): void {
  for (const [mode, antialias] of MODES) {
    for (const size of SIZES) {
      for (const length of SIZES) {
        const band = resizeBand(size, length, mode, antialias);
        check(band, size, `${mode}${antialias ? " antialias" : ""} ${size} to ${length}`);
      }
    }
  }
}

Deno.test("resizeBand() stays inside the input and its rows sum to 1", () => {
  eachBand((band, size, name) => {
    equal(band.starts.length, band.length, name);
    ok(band.starts.every((s) => s >= 0 && s + band.taps <= size), name);
    for (const row of dense(band, size)) {
      ok(Math.abs(row.reduce((a, b) => a + b, 0) - 1) < 1e-6, name);
    }
  });
});

Deno.test("transposeBand() gives the transposed matrix, and twice the original", () => {
  eachBand((band, size, name) => {
    const back = transposeBand(band.starts, band.weights, size);
    equal(back.length, size, name);
    ok(back.starts.every((s) => s >= 0 && s + back.taps <= band.length), name);
    const matrix = dense(band, size);
    const transposed = matrix[0].map((_, j) => matrix.map((row) => row[j]));
    deepEqual(dense(back, band.length), transposed, name);
    const again = transposeBand(back.starts, back.weights, band.length);
    deepEqual(dense(again, size), matrix, name);
  });
});

Deno.test("resizeBand() of the same size is the identity", () => {
  for (const [mode, antialias] of MODES) {
    for (const size of SIZES) ok(isIdentity(resizeBand(size, size, mode, antialias), size));
  }
  ok(!isIdentity(resizeBand(4, 5, "nearest", false), 4));
});

Deno.test("resizeBand() takes half-pixel centres and repeats the edge", () => {
  deepEqual(dense(resizeBand(2, 4, "bilinear", false), 2), [
    [1, 0],
    [0.75, 0.25],
    [0.25, 0.75],
    [0, 1],
  ]);
  deepEqual(dense(resizeBand(4, 2, "bilinear", true), 4).map((row) => row.map((w) => 7 * w)), [
    [3, 3, 1, 0].map((w) => 7 * Math.fround(w / 7)),
    [0, 1, 3, 3].map((w) => 7 * Math.fround(w / 7)),
  ]);
  deepEqual(dense(resizeBand(5, 2, "nearest", false), 5), [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]);
});

Deno.test("resizeBand() keeps a linear ramp in the interior where the cubic has a = -0.5", () => {
  const band = resizeBand(16, 32, "bicubic", true);
  const rows = dense(band, 16);
  for (let i = 4; i < 28; i++) {
    const value = rows[i].reduce((sum, w, j) => sum + w * j, 0);
    ok(Math.abs(value - ((i + 0.5) / 2 - 0.5)) < 1e-5);
  }
});

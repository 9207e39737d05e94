import { IDENTITY } from "../shaders/kernel.ts";
import { lowerMatmul, type MatmulShape } from "../shaders/matmul.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";
import { ok, strictEqual as equal, throws } from "node:assert/strict";

const batchOf = (s: MatmulShape) => Math.max(s.batchA, s.batchB);

function operands(s: MatmulShape): [Float32Array, Float32Array] {
  return [values(s.batchA * s.m * s.k, 1), values(s.batchB * s.k * s.n, 2)];
}

function reference(s: MatmulShape, a: Float32Array, b: Float32Array): Float64Array {
  const { m, k, n } = s;
  const out = new Float64Array(batchOf(s) * m * n);
  for (let z = 0; z < batchOf(s); z++) {
    const [baseA, baseB] = [s.batchA === 1 ? 0 : z * m * k, s.batchB === 1 ? 0 : z * k * n];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let q = 0; q < k; q++) {
          const left = a[baseA + (s.transA ? q * m + i : i * k + q)];
          sum += left * b[baseB + (s.transB ? j * k + q : q * n + j)];
        }
        out[(z * m + i) * n + j] = sum;
      }
    }
  }
  return out;
}

type Size = [batchA: number, batchB: number, m: number, k: number, n: number];

function shape([batchA, batchB, m, k, n]: Size, transA = false, transB = false): MatmulShape {
  return { batchA, batchB, m, k, n, transA, transB };
}

const FLAGS = [[false, false], [false, true], [true, false], [true, true]];
/** Rows (or columns) that are few, of products large enough for a tile of their own. */
const NARROW = [8, 4, 3, 1];

/** Sizes that reach each tile, its edges, vector and scalar loads, and sums in parts. */
const SHAPES: readonly MatmulShape[] = [
  ...FLAGS.map(([a, b]) => shape([2, 2, 17, 33, 35], a, b)),
  ...FLAGS.map(([a, b]) => shape([2, 2, 20, 36, 44], a, b)),
  ...FLAGS.map(([a, b]) => shape([1, 1, 140, 276, 140], a, b)),
  ...NARROW.map((m, i) => shape([1, 1, m, 68, 2048], i % 2 === 0, i > 1)),
  ...NARROW.map((n, i) => shape([1, 1, 2048, 68, n], i > 1, i % 2 === 0)),
  shape([1, 1, 161, 277, 123]),
  shape([1, 1, 1, 1, 1]),
  shape([3, 1, 5, 3, 12]),
  shape([3, 1, 5, 8, 12], true),
  shape([1, 3, 5, 8, 12], false, true),
  shape([1, 1, 1, 68, 40], false, true),
  shape([1, 1, 1, 64, 40], true),
  shape([1, 1, 3, 100, 70]),
  shape([1, 1, 70, 40, 1]),
  shape([1, 1, 70, 40, 4], true, true),
  shape([1, 1, 75, 9, 3], false, true),
  shape([1, 1, 8, 1100, 12], true),
  shape([1, 1, 33, 4099, 36], true),
  shape([2, 2, 30, 2051, 38]),
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerMatmul() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const s of SHAPES) {
      const [a, b] = operands(s);
      const lowering = lowerMatmul(s, device.profile);
      const [out] = await runLowering(device, lowering, [a, b], [batchOf(s) * s.m * s.n]);
      const tolerance = s.k > 2000 ? 1e-4 : 2e-5;
      close(out, reference(s, a, b), tolerance, lowering.steps[0].kernel.label);
    }
  });

  Deno.test(`lowerMatmul() applies an epilogue when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const sizes: Size[] = [[2, 2, 17, 33, 35], [1, 1, 12, 36, 44], [1, 1, 70, 40, 4], [
      1,
      1,
      7,
      600,
      5,
    ]];
    for (const s of sizes.map((size) => shape(size))) {
      const [a, b] = operands(s);
      const extra = values(batchOf(s) * s.m * s.n, 3);
      const lowering = lowerMatmul(s, device.profile, SCALE_AND_ADD);
      const [out] = await runLowering(device, lowering, [a, b], [extra.length], [extra]);
      const expected = reference(s, a, b).map((value, i) => 2 * value + extra[i]);
      close(out, expected, 2e-5, lowering.steps[0].kernel.label);
    }
  });

  Deno.test(`lowerMatmul() ignores what lies beyond k when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    // A batch that follows the one at hand holds NaN: loads past its end must not reach a sum.
    for (const size of [[2, 2, 3, 5, 6], [2, 2, 4, 12, 8]] as Size[]) {
      const s = shape(size);
      const [a, b] = operands(s);
      const expected = reference(s, a, b).slice(0, s.m * s.n);
      a.fill(NaN, s.m * s.k);
      b.fill(NaN, s.k * s.n);
      const lowering = lowerMatmul(s, device.profile);
      const [out] = await runLowering(device, lowering, [a, b], [2 * s.m * s.n]);
      close(out.subarray(0, s.m * s.n), expected, 2e-5, lowering.steps[0].kernel.label);
    }
  });

  Deno.test(`lowerMatmul() cuts a long sum into parts when run on ${schedule}`, async () => {
    const { profile } = await deviceFor(schedule);
    ok(lowerMatmul(shape([1, 1, 32, 4096, 32], true), profile).steps.length === 2);
    ok(lowerMatmul(shape([1, 1, 1024, 1024, 1024]), profile).steps.length === 1);
  });

  Deno.test(`lowerMatmul() uses both grid dimensions when tiles exceed one on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const s = shape([7, 7, 5, 4, 6]);
    const [a, b] = operands(s);
    const lowering = lowerMatmul(s, { ...device.profile, maxGrid: 3 });
    ok(lowering.steps[0].kernel.grid[1] > 1);
    const [out] = await runLowering(device, lowering, [a, b], [7 * s.m * s.n]);
    close(out, reference(s, a, b), 2e-5, lowering.steps[0].kernel.label);
  });
}

/** Sizes whose tiles are tall, flat, swapped and cut, with vector and scalar loads. */
const SUMMED: readonly Size[] = [
  [1, 1, 70, 40, 36],
  [1, 1, 5, 33, 130],
  [1, 1, 3, 40, 64],
  [1, 1, 200, 17, 3],
  [1, 1, 33, 4099, 36],
];

for (const schedule of ["cpu", "cpu-nosubgroup"] as const) {
  Deno.test(`lowerMatmul() sums its left factor on the way on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const size of SUMMED) {
      const s = shape(size, true);
      const [a, b] = operands(s);
      const extra = values(s.m * s.n, 3);
      const companion = { epilogue: IDENTITY };
      const lowering = lowerMatmul(s, device.profile, SCALE_AND_ADD, companion);
      const [out, sums] = await runLowering(device, lowering, [a, b], [s.m * s.n, s.m], [extra]);
      const { label } = lowering.steps[0].kernel;
      const expected = reference(s, a, b).map((value, i) => 2 * value + extra[i]);
      close(out, expected, 2e-4, label);
      const rows = Array.from({ length: s.m }, (_, row) => {
        let total = 0;
        for (let k = 0; k < s.k; k++) total += a[k * s.m + row];
        return total;
      });
      close(sums, rows, 2e-4, `${label}, sums`);
    }
  });
}

Deno.test("lowerMatmul() gives different shapes one source on a CPU adapter", async () => {
  const device = await deviceFor("cpu");
  const shapes = [shape([1, 1, 70, 40, 36]), shape([3, 1, 33, 72, 100]), shape([2, 2, 41, 8, 64])];
  const sources = new Set<string>();
  for (const s of shapes) {
    const [a, b] = operands(s);
    const lowering = lowerMatmul(s, device.profile);
    sources.add(lowering.steps[0].kernel.source);
    const [out] = await runLowering(device, lowering, [a, b], [batchOf(s) * s.m * s.n]);
    close(out, reference(s, a, b), 2e-5, lowering.steps[0].kernel.label);
  }
  equal(sources.size, 1);
});

Deno.test("lowerMatmul() throws when batches do not broadcast", async () => {
  const { profile } = await deviceFor("cpu");
  throws(() => lowerMatmul(shape([2, 3, 4, 4, 4]), profile), /batches of 2 and 3/);
});

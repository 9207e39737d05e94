import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { squaredDistanceTransform } from "../model/sss/pcsw/distance_transform.ts";
import type { Spacing, VolumeShape } from "../model/sss/pcsw/volume.ts";
import { maskMetrics, MetricTable } from "../train/metrics/metric_table.ts";
import { surfaceDistances, volumeDiagonal } from "../train/metrics/surface_distances.ts";
import { bytes, hashUnits, readFixture } from "./sss_golden.ts";

interface MetricsManifest {
  cases: {
    name: string;
    shape: [number, number, number];
    dice: number;
    jaccard: number;
    distances: { spacing: Spacing; hd: number; hd95: number; asd: number; assd: number }[];
  }[];
}

function near(actual: number | null, expected: number, what: string, tolerance = 1e-6): void {
  ok(
    actual !== null &&
      Math.abs(actual - expected) <= tolerance * Math.max(Math.abs(expected), 1e-9),
    `${what} is ${actual}, not ${expected}`,
  );
}

Deno.test("maskMetrics() agrees with the golden values when both masks are present", async () => {
  const fixture = await readFixture<MetricsManifest>("sss_metrics");
  ok(fixture.manifest.cases.length > 0);
  for (const { name, shape, dice, jaccard, distances } of fixture.manifest.cases) {
    const prediction = bytes(fixture, `${name}/pred`), reference = bytes(fixture, `${name}/ref`);
    for (const { spacing, ...expected } of distances) {
      const actual = maskMetrics(prediction, reference, shape, spacing);
      near(actual.dice, dice, `${name}: dice`);
      near(actual.jaccard, jaccard, `${name}: jaccard`);
      for (const key of ["hd", "hd95", "asd", "assd"] as const) {
        near(actual[key], expected[key], `${name} at ${spacing}: ${key}`);
      }
    }
  }
});

Deno.test("squaredDistanceTransform() agrees with brute force when sites are sparse", () => {
  const shapes: VolumeShape[] = [[1, 1, 1], [1, 1, 9], [5, 1, 1], [1, 7, 6], [4, 5, 7], [6, 3, 2]];
  for (const [s, shape] of shapes.entries()) {
    const [S, H, W] = shape;
    for (const spacing of [[1, 1, 1], [10, 1.5, 0.7]] as const) {
      const sites = Uint8Array.from(hashUnits(`sites${s}`, S * H * W), (u) => u < 0.08 ? 1 : 0);
      const actual = squaredDistanceTransform(sites, shape, spacing);
      const at = (i: number) => [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
      for (let i = 0; i < sites.length; i++) {
        let expected = Infinity;
        for (let j = 0; j < sites.length; j++) {
          if (sites[j] === 0) continue;
          const a = at(i), b = at(j);
          const d = a.reduce((sum, v, k) => sum + ((v - b[k]) * spacing[k]) ** 2, 0);
          expected = Math.min(expected, d);
        }
        if (expected === Infinity) strictEqual(actual[i], Infinity);
        else near(actual[i], expected, `shape ${shape}, voxel ${i}`, 1e-12);
      }
    }
  }
});

Deno.test("maskMetrics() follows the empty rule when a mask is empty", () => {
  const shape: VolumeShape = [2, 3, 4], spacing: Spacing = [10, 2, 1];
  const empty = new Uint8Array(24), full = new Uint8Array(24).fill(1);
  const none = { hd: null, hd95: null, asd: null, assd: null };
  deepStrictEqual(maskMetrics(empty, empty, shape, spacing), { dice: 1, jaccard: 1, ...none });
  deepStrictEqual(maskMetrics(full, empty, shape, spacing), { dice: 0, jaccard: 0, ...none });
  deepStrictEqual(maskMetrics(empty, full, shape, spacing), { dice: 0, jaccard: 0, ...none });
  const diagonal = Math.sqrt(10 ** 2 + 4 ** 2 + 3 ** 2);
  near(volumeDiagonal(shape, spacing), diagonal, "diagonal", 1e-12);
  strictEqual(
    maskMetrics(empty, full, shape, spacing, "diagonal").hd95,
    volumeDiagonal(shape, spacing),
  );
  strictEqual(maskMetrics(empty, empty, shape, spacing, "diagonal").hd95, null);
});

Deno.test("surfaceDistances() is directional only in asd when the masks are exchanged", () => {
  const shape: VolumeShape = [4, 9, 8];
  const a = Uint8Array.from(hashUnits("a", 288), (u) => u < 0.2 ? 1 : 0);
  const b = Uint8Array.from(hashUnits("b", 288), (u) => u < 0.05 ? 1 : 0);
  const ab = surfaceDistances(a, b, shape)!, ba = surfaceDistances(b, a, shape)!;
  strictEqual(ab.hd, ba.hd);
  strictEqual(ab.hd95, ba.hd95);
  near(ab.assd, ba.assd, "assd", 1e-12);
  ok(ab.asd !== ba.asd);
  near((ab.asd + ba.asd) / 2, ab.assd, "assd from asd", 1e-12);
});

Deno.test("MetricTable averages over volumes, then classes, when classes are absent", () => {
  const shape: VolumeShape = [1, 2, 4];
  const table = new MetricTable(["RV", "Myo"]);
  table.add("first", [1, 1, 0, 0, 2, 2, 0, 0], [1, 1, 0, 0, 0, 2, 2, 0], shape, [10, 1, 1]);
  table.add("second", [0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0], shape, [10, 1, 1]);
  const all = table.summary();
  strictEqual(all.classes[0].mean.dice, 0.5);
  strictEqual(all.classes[1].mean.dice, 0.75);
  strictEqual(all.mean.dice, 0.625);
  strictEqual(all.classes[0].undefinedDistances, 1);
  strictEqual(all.classes[0].mean.hd, 0);
  strictEqual(all.classes[1].undefinedDistances, 1);
  strictEqual(all.mean.hd, 0.5);
  const present = table.summary(true);
  strictEqual(present.classes[0].volumes, 2);
  strictEqual(present.classes[1].volumes, 1);
  strictEqual(present.classes[1].mean.dice, 0.5);
  strictEqual(present.mean.dice, 0.5);
});

Deno.test("MetricTable states unit and rule when it is printed", () => {
  const shape: VolumeShape = [1, 1, 2];
  const millimetres = new MetricTable(["LV"]);
  millimetres.add("a", [1, 0], [1, 0], shape, [1, 1, 1]);
  match(String(millimetres), /95HD \(mm\)/);
  match(String(millimetres), /excluded and counted/);
  match(String(millimetres), /100\.00/);
  ok(!String(millimetres).includes("volumes with the class"));
  const voxels = new MetricTable(["LV"], "diagonal");
  voxels.add("a", [1, 0], [0, 0], shape, null);
  match(String(voxels), /95HD \(voxels\)/);
  match(String(voxels), /diagonal/);
  match(String(voxels), /volumes with the class/);
  const json = JSON.parse(JSON.stringify(voxels));
  strictEqual(json.unit, "voxels");
  strictEqual(json.rows[0].metrics.hd, 1);
  throws(() => voxels.add("b", [1, 0], [0, 0], shape, [1, 1, 1]), /b is in mm/);
  throws(() => voxels.add("c", [1], [0, 0], shape, null), /prediction of c has 1 voxels/);
});

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { sssConfig, standardRampUp, unlabelledWeight } from "../model/sss/config.ts";
import { gapVoxels } from "../model/sss/pcsw/gap_filling.ts";
import {
  acdcGates,
  bhsdGates,
  calibrateGates,
  checkGates,
  componentStatistics,
  type GateSet,
  gatesOf,
} from "../model/sss/pcsw/gates.ts";
import { judgeWindow } from "../model/sss/pcsw/continuity.ts";
import { unionComponents } from "../model/sss/pcsw/union_graph.ts";
import { labelPieces } from "../model/sss/pcsw/labelling.ts";
import { cutPieces } from "../model/sss/pcsw/pieces.ts";
import { resolveOverlaps, targetWeights } from "../model/sss/pcsw/pseudo_labels.ts";
import {
  deepestPoint,
  jitterBox,
  maskPrompt,
  promptSlices,
  tightBox,
} from "../model/sss/pcsw/prompts.ts";

/** A stack of one-row slices, each given as its pixels "0110". */
function slab(...rows: string[]): Uint8Array {
  return Uint8Array.from(rows.join(""), Number);
}

Deno.test("componentStatistics() measures slice to slice when a component changes", () => {
  const mask = slab("11110000", "00111100", "00110000", "00111111");
  const pieces = cutPieces(mask, [4, 1, 8], 26, 1);
  const voxels = componentStatistics(pieces, [0, 1, 2, 3], null);
  strictEqual(voxels.voxels, 16);
  strictEqual(voxels.volume, null);
  strictEqual(voxels.extent, 4);
  strictEqual(voxels.areaRatio, 0.5);
  strictEqual(voxels.drift, 2);
  strictEqual(voxels.overlap, 0.5);
  const mm = componentStatistics(pieces, [0, 1, 2, 3], [10, 2, 3]);
  strictEqual(mm.volume, 16 * 60);
  strictEqual(mm.drift, 6);
});

Deno.test("componentStatistics() compares across the gap when a slice is missing", () => {
  const pieces = cutPieces(slab("1110", "0000", "0111"), [3, 1, 4], 26, 1);
  const statistics = componentStatistics(pieces, [0, 1], null);
  strictEqual(statistics.extent, 3);
  strictEqual(statistics.overlap, 2 / 3);
  strictEqual(statistics.drift, 1);
});

Deno.test("checkGates() names the first gate when a component fails", () => {
  const good = { voxels: 900, volume: 20250, extent: 5, areaRatio: 0.5, drift: 3, overlap: 0.8 };
  const [gates] = acdcGates;
  strictEqual(checkGates(good, gates, 10), null);
  strictEqual(checkGates({ ...good, volume: 499 }, gates, 10), "volume");
  strictEqual(checkGates({ ...good, volume: null, voxels: 21 }, gates, 10), "volume");
  strictEqual(checkGates({ ...good, extent: 1 }, gates, 10), "extent");
  strictEqual(checkGates({ ...good, extent: 1 }, gates, 1), null);
  strictEqual(checkGates({ ...good, areaRatio: 0.2 }, gates, 10), "area-ratio");
  strictEqual(checkGates({ ...good, drift: 16 }, gates, 10), "drift");
  strictEqual(checkGates({ ...good, volume: null, drift: 11 }, gates, 10), "drift");
  strictEqual(checkGates({ ...good, overlap: 0.2 }, gates, 10), "overlap");
  strictEqual(checkGates({ ...good, extent: 1, volume: 199 }, bhsdGates[0], 10), "extent");
  strictEqual(checkGates({ ...good, extent: 1, volume: 200 }, bhsdGates[0], 10), null);
  strictEqual(gatesOf(acdcGates, 1, 3).volume, 1000);
  strictEqual(gatesOf(bhsdGates, 4, 5), bhsdGates[0]);
  throws(() => gatesOf(acdcGates, 0, 5), /3 gate sets do not fit 5 classes/);
});

Deno.test("calibrateGates() takes the outer percentile when labelled components are given", () => {
  const statistics = Array.from({ length: 101 }, (_, i) => ({
    voxels: 100 + i,
    volume: 1000 + 10 * i,
    extent: 4 + i,
    areaRatio: 0.3 + i / 1000,
    drift: i / 10,
    overlap: 0.5 + i / 1000,
  }));
  const gates = calibrateGates(statistics, acdcGates[0]);
  strictEqual(gates.volume, 1010);
  strictEqual(gates.volumeVoxels, acdcGates[0].volumeVoxels);
  strictEqual(gates.extent, 5);
  ok(Math.abs(gates.areaRatio - 0.301) < 1e-12);
  ok(Math.abs(gates.drift - 9.9) < 1e-12);
  ok(Math.abs(gates.overlap - 0.501) < 1e-12);
  const voxels = calibrateGates(statistics.map((s) => ({ ...s, volume: null })), acdcGates[0]);
  strictEqual(voxels.volumeVoxels, 101);
  strictEqual(voxels.volume, acdcGates[0].volume);
  throws(() => calibrateGates([], acdcGates[0]), /at least one/);
  throws(
    () => calibrateGates([statistics[0], { ...statistics[1], volume: null }], acdcGates[0]),
    /1 of 2 components/,
  );
});

Deno.test("judgeWindow() keeps the largest parts when several count together", () => {
  // Parts of 2, 4, 1, 4, 3 and 1 pixels; label order is scan order.
  const pieces = cutPieces(slab("110111101011110111010"), [1, 1, 21], 6, 0);
  const window = { length: 1, start: 0 };
  const judge = (parts: number, tau: number, gates: GateSet | null = null) => {
    const criteria = { tau, parts, gates, spacing: null, slices: 1 };
    return judgeWindow(pieces, window, labelPieces(pieces, window), criteria);
  };
  deepStrictEqual(judge(1, 0).kept, [[1]]);
  deepStrictEqual(judge(2, 0).kept, [[1], [3]]);
  deepStrictEqual(judge(5, 0).kept, [[1], [3], [4], [0], [2]]);
  strictEqual(judge(3, 0).verdict.continuity, 11 / 15);
  strictEqual(judge(3, 11 / 15).verdict.reason, "accepted");
  strictEqual(judge(3, 0.74).verdict.reason, "continuity");
  const gates = { ...bhsdGates[0], volumeVoxels: 3 };
  deepStrictEqual(judge(6, 0.7, gates).kept, [[1], [3], [4]]);
  strictEqual(judge(6, 0.74, gates).verdict.reason, "volume");
});

Deno.test("gapVoxels() moves the section halfway when it shifts across the gap", () => {
  const [H, W] = [20, 30];
  const square = (left: number) =>
    Uint8Array.from({ length: H * W }, (_, i) => {
      const x = i % W, y = Math.floor(i / W);
      return x >= left && x < left + 9 && y >= 5 && y < 14 ? 1 : 0;
    });
  const mask = new Uint8Array(3 * H * W);
  mask.set(square(8));
  mask.set(square(12), 2 * H * W);
  const pieces = cutPieces(mask, [3, H, W], 26, 1);
  const filled = gapVoxels(pieces, [0, 1], null).map((v) => v - H * W);
  ok(filled.length > 40 && filled.length <= 81, `${filled.length} voxels`);
  const common = (i: number) => mask[i] !== 0 && mask[i + 2 * H * W] !== 0;
  for (let i = 0; i < H * W; i++) if (common(i)) ok(filled.includes(i), `pixel ${i}`);
  const centre = filled.reduce((sum, i) => sum + i % W, 0) / filled.length;
  ok(Math.abs(centre - 14) < 1e-9, `centre ${centre}`);
  deepStrictEqual(gapVoxels(pieces, [0], null), []);
});

Deno.test("gapVoxels() resembles the nearer section when two slices are missing", () => {
  const [H, W] = [20, 30];
  const square = (left: number, side: number) =>
    Uint8Array.from({ length: H * W }, (_, i) => {
      const x = i % W, y = Math.floor(i / W);
      return x >= left && x < left + side && y >= 2 && y < 2 + side ? 1 : 0;
    });
  const mask = new Uint8Array(4 * H * W);
  mask.set(square(4, 15));
  mask.set(square(9, 5), 3 * H * W);
  const filled = gapVoxels(cutPieces(mask, [4, H, W], 26, 2), [0, 1], null);
  const inSlice = (z: number) => filled.filter((v) => Math.floor(v / (H * W)) === z).length;
  strictEqual(inSlice(1) + inSlice(2), filled.length);
  ok(inSlice(1) > inSlice(2) && inSlice(2) >= 25, `${inSlice(1)}, ${inSlice(2)} voxels`);
});

Deno.test("unionComponents() does not walk over pieces when they were not kept", () => {
  const pieces = cutPieces(slab("0110", "0110", "0110"), [3, 1, 4], 26, 0);
  deepStrictEqual(unionComponents(pieces, Uint8Array.of(1, 1, 1)), [[0, 1, 2]]);
  deepStrictEqual(unionComponents(pieces, Uint8Array.of(1, 0, 1)), [[0], [2]]);
  deepStrictEqual(unionComponents(pieces, Uint8Array.of(0, 1, 0)), [[1]]);
});

Deno.test("resolveOverlaps() gives a filled voxel to one class when several claim it", () => {
  const kept = () => [Uint8Array.of(1, 0, 0, 0), Uint8Array.of(0, 0, 0, 0)];
  const gaps = [[1, 2], [0, 1, 2, 3]];
  const probabilities = [Float32Array.of(0, 0.6, 0.3, 0), Float32Array.of(0, 0.2, 0.3, 0)];
  const decided = kept();
  resolveOverlaps(decided, gaps, probabilities);
  deepStrictEqual(decided, [Uint8Array.of(1, 1, 0, 0), Uint8Array.of(0, 0, 0, 1)]);
  const undecided = kept();
  resolveOverlaps(undecided, gaps);
  deepStrictEqual(undecided, [Uint8Array.of(1, 0, 0, 0), Uint8Array.of(0, 0, 0, 1)]);
});

Deno.test("targetWeights() looks up the weight of the class when a voxel names one", () => {
  const weights = [Uint8Array.of(0, 1, 1, 0), Uint8Array.of(1, 0, 1, 0)];
  deepStrictEqual([...targetWeights([1, 2, 1, 0], weights)], [0, 0, 1, 1]);
  throws(() => targetWeights([3], weights), /target 3 exceeds the 2 classes/);
});

Deno.test("deepestPoint() lies inside when the mask is a ring", () => {
  const width = 21;
  const ring = Uint8Array.from({ length: width * width }, (_, i) => {
    const r = Math.hypot(i % width - 10, Math.floor(i / width) - 10);
    return r >= 5 && r <= 9 ? 1 : 0;
  });
  const box = tightBox(ring, width)!;
  deepStrictEqual(box, [1, 1, 19, 19]);
  const [x, y] = deepestPoint(ring, width, box);
  strictEqual(ring[y * width + x], 1);
  const r = Math.hypot(x - 10, y - 10);
  ok(r > 6 && r < 8, `radius ${r}`);
  strictEqual(tightBox(new Uint8Array(9), 3), null);
});

Deno.test("deepestPoint() follows the spacing when pixels are not square", () => {
  // A tall bar beside a wide one: which is deeper depends on the pixel's shape.
  const rows = ["111000000", "111000000", "111111111", "111111111", "111000000", "111000000"];
  const mask = Uint8Array.from(rows.join(""), Number);
  const [x] = deepestPoint(mask, 9, [0, 0, 8, 5], [1, 1]);
  ok(x <= 2);
  const [wide] = deepestPoint(mask, 9, [0, 0, 8, 5], [10, 1]);
  ok(wide > 2);
});

Deno.test("deepestPoint() is nearest the centroid when many pixels are equally deep", () => {
  const bar = new Uint8Array(5 * 13);
  for (let i = 0; i < 33; i++) bar[(1 + i % 3) * 13 + 1 + Math.floor(i / 3)] = 1;
  deepStrictEqual(deepestPoint(bar, 13, [1, 1, 11, 3]), [6, 2]);
});

Deno.test("jitterBox() stays in the image and ordered when the box is at the border", () => {
  let flip = 0;
  const box = jitterBox([0, 0, 0, 31], [32, 64], () => flip++ % 2 === 0 ? 0 : 0.999, 0.5);
  const [x0, y0, x1, y1] = box;
  ok(x0 >= 0 && x0 <= x1 && y0 >= 0 && y0 <= y1 && x1 <= 63 && y1 <= 31, `${box}`);
});

Deno.test("promptSlices() steps both ways from the key slice when a frequency is given", () => {
  deepStrictEqual(promptSlices(3, [1, 4, 9, 9, 2, 1], 2), [3, 5, 7]);
  deepStrictEqual(promptSlices(3, [1, 4, 9, 9, 2, 1], 0), [5]);
  deepStrictEqual(promptSlices(0, [5], 3), [0]);
});

Deno.test("maskPrompt() samples cell centres when the size differs", () => {
  const mask = Uint8Array.of(1, 0, 0, 0, 0, 0, 1, 1);
  deepStrictEqual([...maskPrompt(mask, 4, 2)], [-10, -10, -10, 10]);
  deepStrictEqual([...maskPrompt(mask, 4, 4).subarray(0, 4)], [10, -10, -10, -10]);
});

Deno.test("sssConfig() refuses a value when it is out of range or unknown", () => {
  strictEqual(sssConfig().pcswEvery, 50);
  strictEqual(sssConfig({ pcsw: "reported" }).connectivity, 6);
  strictEqual(sssConfig({ pcsw: "reported", connectivity: 26 }).connectivity, 26);
  throws(() => sssConfig({ tau: 1.5 }), /tau must be a number from 0 to 1, not 1.5/);
  throws(() => sssConfig({ pcswEvery: 0.5 }), /pcswEvery must be an integer/);
  throws(() => sssConfig({ conf: NaN }), /conf/);
  throws(() => sssConfig(JSON.parse('{"pair": "weak"}')), /pair must be one of weak-strong/);
  throws(() => sssConfig(JSON.parse('{"taus": 1}')), /"taus" is no SSS option/);
});

Deno.test("unlabelledWeight() rises to its limit when training goes on", () => {
  const config = sssConfig({ lambda: 2, rampUp: standardRampUp });
  ok(Math.abs(unlabelledWeight(config, 0) - 2 * Math.exp(-5)) < 1e-15);
  strictEqual(unlabelledWeight(config, 149), unlabelledWeight(config, 0));
  strictEqual(unlabelledWeight(config, 200 * 150), 2);
  strictEqual(unlabelledWeight(sssConfig({ lambda: 0.7 }), 0), 0.7);
});

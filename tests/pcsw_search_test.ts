import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { pcswOptions, sssConfig } from "../model/sss/config.ts";
import { acdcGates, bhsdGates } from "../model/sss/pcsw/gates.ts";
import { labelVoxelsByDfs } from "../model/sss/pcsw/labelling.ts";
import { oursPcsw, pcsw, pcswMasks, type PcswOptions } from "../model/sss/pcsw/pcsw.ts";
import type { Spacing, VolumeShape } from "../model/sss/pcsw/volume.ts";
import { hashUnits } from "./sss_golden.ts";

const shape: VolumeShape = [12, 40, 44];
const spacing: Spacing = [10, 1.5, 1.5];
const gated: PcswOptions = { ...oursPcsw, gates: acdcGates.slice(0, 1) };

/** Voxels within an ellipsoid with centre [z, y, x] and radii [rz, ry, rx]. */
function ellipsoid(centre: readonly number[], radii: readonly number[]): Uint8Array {
  const [S, H, W] = shape;
  return Uint8Array.from({ length: S * H * W }, (_, i) => {
    const at = [Math.floor(i / (H * W)), Math.floor(i / W) % H, i % W];
    return at.reduce((sum, v, k) => sum + ((v - centre[k]) / radii[k]) ** 2, 0) <= 1 ? 1 : 0;
  });
}

function union(...masks: Uint8Array[]): Uint8Array {
  return masks[0].map((_, i) => masks.some((mask) => mask[i] !== 0) ? 1 : 0);
}

function count(mask: Uint8Array): number {
  return mask.reduce((a, b) => a + b, 0);
}

function without(mask: Uint8Array, ...slices: number[]): Uint8Array {
  const plane = shape[1] * shape[2];
  return mask.map((v, i) => slices.includes(Math.floor(i / plane)) ? 0 : v);
}

const ball = ellipsoid([6, 18, 16], [4.5, 9, 8]);

Deno.test("pcswMasks() keeps all of it when the volume holds one ball", async () => {
  const [result] = await pcswMasks([ball], shape, gated, { spacing });
  ok(result.accepted);
  strictEqual(result.reason, "accepted");
  deepStrictEqual(result.keptMask, ball);
  ok(result.voxelWeight.every((w) => w === 1));
  deepStrictEqual(result.slices.map((s) => s.z), [2, 4, 6, 8, 10]);
  deepStrictEqual(result.slices[2].box, [8, 9, 24, 27]);
  deepStrictEqual(result.slices[2].point, [16, 18]);
  deepStrictEqual(result.components, [{ voxels: count(ball), reason: "accepted" }]);
});

Deno.test("pcswMasks() refuses two equal balls when neither reaches tau", async () => {
  const two = union(ellipsoid([6, 10, 10], [20, 7, 7]), ellipsoid([6, 28, 32], [20, 7, 7]));
  const [result] = await pcswMasks([two], shape, gated, { spacing });
  ok(!result.accepted);
  strictEqual(result.reason, "continuity");
  deepStrictEqual(result.slices, []);
  strictEqual(count(result.keptMask), 0);
  strictEqual(count(result.voxelWeight), 0);
  ok(result.windows.every((w) => w.continuity !== null && w.continuity < 0.8));
});

Deno.test("pcswMasks() keeps the larger of two balls when it reaches tau", async () => {
  const large = ellipsoid([6, 14, 14], [20, 10, 10]), small = ellipsoid([6, 33, 36], [20, 4, 4]);
  const [result] = await pcswMasks([union(large, small)], shape, gated, { spacing });
  ok(result.accepted);
  deepStrictEqual(result.keptMask, large);
  ok(result.voxelWeight.every((w, i) => w === 1 - small[i]));
});

Deno.test("pcswMasks() keeps several foci when five parts count together", async () => {
  const two = union(ellipsoid([6, 10, 10], [20, 7, 7]), ellipsoid([6, 28, 32], [20, 7, 7]));
  const options = { ...gated, parts: 5, gates: bhsdGates };
  const [result] = await pcswMasks([two], shape, options, { spacing });
  ok(result.accepted);
  deepStrictEqual(result.keptMask, two);
  strictEqual(result.components.length, 2);
});

Deno.test("pcswMasks() fills the slice when one slice of a ball is missing", async () => {
  const [result] = await pcswMasks([without(ball, 7)], shape, gated, { spacing });
  strictEqual(result.components.length, 1);
  const plane = shape[1] * shape[2];
  const slice = (mask: Uint8Array, z: number) => mask.subarray(z * plane, (z + 1) * plane);
  const filled = count(slice(result.keptMask, 7));
  ok(filled >= count(slice(ball, 8)) && filled <= count(slice(ball, 6)), `filled ${filled}`);
  // Blending nested sections gives one between them.
  slice(result.keptMask, 7).forEach((v, i) => {
    ok(v >= Math.min(slice(ball, 6)[i], slice(ball, 8)[i]));
    ok(v <= Math.max(slice(ball, 6)[i], slice(ball, 8)[i]));
  });
  deepStrictEqual(without(result.keptMask, 7), without(ball, 7));
});

Deno.test("pcswMasks() does not bridge when two slices are missing or the gap is off", async () => {
  const [wide] = await pcswMasks([without(ball, 6, 7)], shape, gated, { spacing });
  strictEqual(wide.components.length, 2);
  strictEqual(count(wide.keptMask), count(without(ball, 6, 7)));
  const [off] = await pcswMasks([without(ball, 7)], shape, { ...gated, gap: 0 }, { spacing });
  strictEqual(off.components.length, 2);
  const [two] = await pcswMasks([without(ball, 6, 7)], shape, { ...gated, gap: 2 }, { spacing });
  strictEqual(two.components.length, 1);
  ok(count(two.keptMask) > count(without(ball, 6, 7)));
});

Deno.test("pcswMasks() drops specks when they are scattered around a ball", async () => {
  const near = ellipsoid([6, 18, 16], [6.5, 13, 12]);
  const specks = Uint8Array.from(
    hashUnits("specks", ball.length),
    (u, i) => near[i] === 0 && u < 0.004 ? 1 : 0,
  );
  ok(count(specks) > 20);
  const [result] = await pcswMasks([union(ball, specks)], shape, gated, { spacing });
  deepStrictEqual(result.keptMask, ball);
  ok(result.voxelWeight.every((w, i) => w === 1 - specks[i]));
});

Deno.test("pcswMasks() refuses a speck by its volume when nothing else is there", async () => {
  const speck = ellipsoid([6, 18, 16], [1.1, 1.1, 1.1]);
  const [alone] = await pcswMasks([speck], shape, gated, { spacing });
  strictEqual(alone.reason, "volume");
  const [unknown] = await pcswMasks([speck], shape, gated);
  strictEqual(unknown.reason, "volume");
  const [ungated] = await pcswMasks([speck], shape, { ...gated, gates: null });
  deepStrictEqual(ungated.keptMask, speck);
  const [empty] = await pcswMasks([new Uint8Array(ball.length)], shape, gated, { spacing });
  strictEqual(empty.reason, "empty");
  // Most windows are empty here, but what was refused tells more.
  const pair = union(ellipsoid([0, 9, 9], [0.5, 5, 5]), ellipsoid([0, 30, 30], [0.5, 5, 5]));
  strictEqual((await pcswMasks([pair], shape, gated, { spacing }))[0].reason, "continuity");
});

Deno.test("pcswMasks() judges alike when spacing and thresholds scale together", async () => {
  const leaning = union(
    ...[4, 5, 6, 7].map((z) => without(ellipsoid([z, 18, 6 + 4 * (z - 4)], [0.5, 6, 6]))),
  );
  const run = (k: number, drift: number) => {
    const gates = [{ ...acdcGates[0], volume: 500 * k ** 3, drift }];
    const voxel: Spacing = [10 * k, 1.5 * k, 1.5 * k];
    return pcswMasks([leaning], shape, { ...gated, gates }, { spacing: voxel });
  };
  // The centroid moves by 4 pixels = 6 mm from slice to slice.
  strictEqual((await run(1, 6.01))[0].reason, "accepted");
  strictEqual((await run(1, 5.99))[0].reason, "drift");
  strictEqual((await run(3, 18.03))[0].reason, "accepted");
  strictEqual((await run(3, 17.97))[0].reason, "drift");
  // Only the in-plane spacing counts for the drift.
  const gates = [{ ...acdcGates[0], volume: 500, drift: 6.01 }];
  const thick = await pcswMasks([leaning], shape, { ...gated, gates }, { spacing: [40, 1.5, 1.5] });
  strictEqual(thick[0].reason, "accepted");
  const wide = await pcswMasks([leaning], shape, { ...gated, gates }, { spacing: [10, 1.5, 3] });
  strictEqual(wide[0].reason, "drift");
});

/** Random blobs of three classes as probabilities [4, S, H, W]. */
function blobProbabilities(): Float32Array {
  const voxels = ball.length;
  const classes = [
    union(ball, ellipsoid([3, 30, 36], [1.2, 3, 4])),
    ellipsoid([5, 19, 30], [4.2, 5.3, 4.1]),
    ellipsoid([7, 33, 20], [3.2, 3.7, 6.4]),
  ];
  const p = new Float32Array(4 * voxels);
  for (let i = 0; i < voxels; i++) {
    const owner = classes.findIndex((mask) => mask[i] !== 0) + 1;
    for (let c = 0; c < 4; c++) p[c * voxels + i] = c === owner ? 0.7 : 0.1;
  }
  return p;
}

Deno.test("pcsw() permutes its results when the classes are permuted", async () => {
  const p = blobProbabilities(), voxels = ball.length;
  const order = [0, 3, 1, 2];
  const q = new Float32Array(p.length);
  order.forEach((from, to) => q.set(p.subarray(from * voxels, (from + 1) * voxels), to * voxels));
  const options = { ...oursPcsw, gates: bhsdGates };
  const a = await pcsw(p, [4, ...shape], options, { spacing });
  const b = await pcsw(q, [4, ...shape], options, { spacing });
  ok(a.every((result) => result.accepted));
  order.slice(1).forEach((from, to) => deepStrictEqual(b[to], a[from - 1]));
});

Deno.test("pcsw() mirrors its results when the volume is mirrored", async () => {
  const p = blobProbabilities();
  const [S, H, W] = shape;
  const options = { ...oursPcsw, gates: bhsdGates };
  const plain = await pcsw(p, [4, ...shape], options, { spacing });
  for (const axis of [0, 1, 2]) {
    const mirror = <A extends Float32Array | Uint8Array>(data: A): A => {
      const out = data.slice() as A;
      for (let i = 0; i < data.length; i++) {
        const at = [Math.floor(i / (H * W)) % S, Math.floor(i / W) % H, i % W];
        const to = at.map((v, k) => k === axis ? shape[k] - 1 - v : v);
        out[i - i % (S * H * W) + (to[0] * H + to[1]) * W + to[2]] = data[i];
      }
      return out;
    };
    const mirrored = await pcsw(mirror(p), [4, ...shape], options, { spacing });
    plain.forEach((result, c) => {
      deepStrictEqual(mirrored[c].keptMask, mirror(result.keptMask), `class ${c}, axis ${axis}`);
      deepStrictEqual(mirrored[c].voxelWeight, mirror(result.voxelWeight));
      const expected = result.slices.map(({ z, box: [x0, y0, x1, y1] }) => ({
        z: axis === 0 ? S - 1 - z : z,
        box: axis === 1
          ? [x0, H - 1 - y1, x1, H - 1 - y0]
          : axis === 2
          ? [W - 1 - x1, y0, W - 1 - x0, y1]
          : [x0, y0, x1, y1],
      }));
      const actual = mirrored[c].slices.map(({ z, box }) => ({ z, box: [...box] }));
      deepStrictEqual(actual, axis === 0 ? expected.reverse() : expected);
    });
  }
});

Deno.test("pcsw() decides the same when all voxels are labelled instead of pieces", async () => {
  const p = blobProbabilities();
  hashUnits("confusion", ball.length).forEach((u, i) => {
    if (u < 0.03) p[ball.length + i] = 0.9;
  });
  const options = pcswOptions(sssConfig({ gates: "bhsd", parts: 5 }));
  for (const connectivity of [6, 26] as const) {
    const search = { ...options, connectivity };
    const pieces = await pcsw(p, [4, ...shape], search, { spacing });
    const label: typeof labelVoxelsByDfs = (...request) =>
      Promise.resolve(labelVoxelsByDfs(...request));
    deepStrictEqual(await pcsw(p, [4, ...shape], search, { spacing, label }), pieces);
  }
});

Deno.test("pcsw() ignores slices when they are marked invalid", async () => {
  const p = blobProbabilities();
  const validSlices = Array.from({ length: shape[0] }, (_, z) => z === 6 ? 0 : 1);
  const every = { ...oursPcsw, promptFreq: 1 };
  const [all] = await pcsw(p, [4, ...shape], every, { spacing });
  ok(all.slices.some((s) => s.z === 6));
  const [result] = await pcsw(p, [4, ...shape], every, { spacing, validSlices });
  ok(result.accepted);
  ok(result.slices.length > 0 && result.slices.every((s) => s.z !== 6));
  const short = pcsw(p, [4, ...shape], oursPcsw, { validSlices: [1] });
  await rejects(short, /1 entries for 12 slices/);
});

Deno.test("pcsw() needs the threshold when a class leads with less", async () => {
  const voxels = ball.length;
  const p = new Float32Array(3 * voxels);
  for (let i = 0; i < voxels; i++) {
    const value = ball[i] === 0 ? 0.2 : 0.49;
    p[i] = 0.3;
    p[voxels + i] = value;
    p[2 * voxels + i] = 0.1;
  }
  strictEqual((await pcsw(p, [3, ...shape], oursPcsw))[0].reason, "empty");
  const [lower] = await pcsw(p, [3, ...shape], { ...oursPcsw, threshold: 0.4 });
  deepStrictEqual(lower.keptMask, ball);
  await rejects(pcsw(p, [2, ...shape], oursPcsw), /do not fill shape/);
});

Deno.test("pcswMasks() falls back to the densest slice when that is asked for", async () => {
  const two = union(ellipsoid([6, 10, 10], [20, 7, 7]), ellipsoid([6, 28, 32], [20, 7, 7]));
  const [result] = await pcswMasks([two], shape, { ...gated, fallback: "reported" }, { spacing });
  ok(!result.accepted);
  strictEqual(result.slices.length, 1);
  strictEqual(result.slices[0].z, 6);
  deepStrictEqual(result.slices[0].box, [3, 3, 39, 35]);
  ok(result.voxelWeight.every((w) => w === 1));
});

Deno.test("pcswMasks() adds mask prompts and jitter when they are on", async () => {
  const units = hashUnits("jitter", 400);
  let drawn = 0;
  const random = () => units[drawn++];
  const options = { ...gated, maskPromptSize: 20 };
  const [tight] = await pcswMasks([ball], shape, gated, { spacing });
  const [moved] = await pcswMasks([ball], shape, options, { spacing, random });
  strictEqual(drawn, 4 * moved.slices.length);
  moved.slices.forEach((slice, i) => {
    const [x0, y0, x1, y1] = tight.slices[i].box;
    const reach = [x1 - x0 + 1, y1 - y0 + 1, x1 - x0 + 1, y1 - y0 + 1].map((side) => 0.02 * side);
    slice.box.forEach((v, k) => ok(Math.abs(v - tight.slices[i].box[k]) <= reach[k]));
    ok(slice.box.some((v, k) => v !== tight.slices[i].box[k]));
    strictEqual(slice.mask?.length, 400);
    deepStrictEqual(new Set(slice.mask), new Set([10, -10]));
  });
  strictEqual(tight.slices[0].mask, undefined);
});

Deno.test("pcswMasks() works when there is a single slice", async () => {
  const flat: VolumeShape = [1, 40, 44];
  const mask = ball.subarray(6 * 40 * 44, 7 * 40 * 44);
  const [result] = await pcswMasks([mask], flat, gated, { spacing });
  deepStrictEqual(result.keptMask, mask);
  deepStrictEqual(result.windows.map(({ length, start }) => [length, start]), [[1, 0]]);
});

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { labelComponents } from "../model/sss/pcsw/components.ts";
import {
  labelPieces,
  labelVoxelsByDfs,
  pieceLabelsFromVoxels,
} from "../model/sss/pcsw/labelling.ts";
import { cutPieces } from "../model/sss/pcsw/pieces.ts";
import type { Connectivity, VolumeShape } from "../model/sss/pcsw/volume.ts";
import { slidingWindows, windowLengths, windowRange } from "../model/sss/pcsw/windows.ts";
import { hashUnits } from "./sss_golden.ts";

const connectivities: Connectivity[] = [6, 26];

function noise(seed: string, shape: VolumeShape, density: number): Uint8Array {
  const count = shape[0] * shape[1] * shape[2];
  return Uint8Array.from(hashUnits(seed, count), (u) => u < density ? 1 : 0);
}

/** Reference labelling that shares nothing with the search: union-find over all voxel pairs. */
function unionFind(mask: Uint8Array, [S, H, W]: VolumeShape, connectivity: number): Int32Array {
  const parent = Int32Array.from(mask, (_, i) => i);
  const root = (i: number) => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  const reach = connectivity === 6 ? 1 : 3;
  for (let i = 0; i < mask.length; i++) {
    const x = i % W, y = Math.floor(i / W) % H, z = Math.floor(i / (H * W));
    for (let code = 0; code < 27; code++) {
      const dx = code % 3 - 1, dy = Math.floor(code / 3) % 3 - 1, dz = Math.floor(code / 9) - 1;
      const steps = Math.abs(dx) + Math.abs(dy) + Math.abs(dz);
      if (steps === 0 || steps > reach) continue;
      if (x + dx < 0 || x + dx >= W || y + dy < 0 || y + dy >= H || z + dz < 0 || z + dz >= S) {
        continue;
      }
      const j = i + (dz * H + dy) * W + dx;
      if (mask[i] !== 0 && mask[j] !== 0) parent[root(i)] = root(j);
    }
  }
  return Int32Array.from(mask, (v, i) => v === 0 ? 0 : root(i) + 1);
}

/** Renumbers labels by first appearance, so that equal partitions become equal arrays. */
function canonical(labels: ArrayLike<number>): number[] {
  const names = new Map([[0, 0]]);
  return Array.from(labels, (label) => {
    const name = names.get(label) ?? names.size;
    names.set(label, name);
    return name;
  });
}

const shapes: VolumeShape[] = [[1, 1, 1], [1, 9, 7], [6, 1, 5], [5, 8, 9], [7, 12, 1], [4, 17, 13]];
const densities = [0, 0.05, 0.2, 0.35, 0.6, 1];

Deno.test("labelComponents() agrees with union-find when volumes are random", () => {
  for (const shape of shapes) {
    for (const density of densities) {
      const mask = noise(`${shape}/${density}`, shape, density);
      for (const connectivity of connectivities) {
        const { labels, count } = labelComponents(mask, shape, connectivity);
        const expected = canonical(unionFind(mask, shape, connectivity));
        deepStrictEqual([...labels], expected, `${shape} at ${density}, ${connectivity}-connected`);
        strictEqual(count, Math.max(...expected));
      }
    }
  }
});

Deno.test("labelPieces() agrees with the voxel labels when windows are cut out", () => {
  for (const shape of shapes) {
    for (const density of densities) {
      const mask = noise(`${shape}/${density}`, shape, density);
      for (const connectivity of connectivities) {
        const windows = slidingWindows(shape[0], "ours");
        const pieces = cutPieces(mask, shape, connectivity, 1);
        const voxels = labelVoxelsByDfs([mask], shape, windows, connectivity);
        ok(!(voxels instanceof Promise));
        windows.forEach((window, w) => {
          const expected = pieceLabelsFromVoxels(pieces, window, voxels(0, w));
          deepStrictEqual(canonical(labelPieces(pieces, window)), canonical(expected));
        });
      }
    }
  }
});

Deno.test("cutPieces() sums areas and shared pixels when slices overlap", () => {
  const mask = Uint8Array.of(
    ...[1, 1, 0, 0, 1, 0, 0, 1],
    ...[0, 1, 0, 0, 1, 0, 0, 0],
    ...[1, 0, 0, 0, 0, 1, 0, 0],
  );
  const pieces = cutPieces(mask, [3, 2, 4], 6, 1);
  deepStrictEqual([...pieces.area], [3, 1, 1, 1, 1, 1]);
  deepStrictEqual([...pieces.slice], [0, 0, 1, 1, 2, 2]);
  deepStrictEqual([...pieces.sliceStart], [0, 2, 4, 6]);
  const edges: number[][] = [];
  const { offsets, targets, weights } = pieces.overlaps;
  for (let a = 0; a < pieces.count; a++) {
    for (let e = offsets[a]; e < offsets[a + 1]; e++) {
      if (a < targets[e]) edges.push([a, targets[e], weights[e]]);
    }
  }
  deepStrictEqual(edges.sort((p, q) => p[0] - q[0] || p[1] - q[1]), [[0, 2, 1], [0, 3, 1], [
    0,
    4,
    1,
  ]]);
});

Deno.test("labelComponents() does not exhaust the stack when a path visits a large volume", () => {
  const shape: VolumeShape = [60, 512, 512];
  const [S, H, W] = shape;
  const mask = new Uint8Array(S * H * W);
  // A serpentine: every other row, joined at alternating ends, in every other slice.
  for (let z = 0; z < S; z++) {
    for (let y = 0; y < H; y += 2) {
      const row = (z * H + y) * W;
      if (z % 2 === 0) mask.fill(1, row, row + W);
      if (z % 2 === 0 && y + 2 < H) mask[row + W + (y % 4 === 0 ? W - 1 : 0)] = 1;
    }
    if (z % 2 === 1) mask[(z * H + (z % 4 === 1 ? H - 2 : 0)) * W] = 1;
  }
  strictEqual(labelComponents(mask, shape, 6).count, 1);
  const pieces = cutPieces(mask, shape, 26, 1);
  strictEqual(pieces.count, 60);
  strictEqual(Math.max(...labelPieces(pieces, { start: 0, length: 60 })), 1);
});

Deno.test("slidingWindows() lists every window of the range once when compared with brute force", () => {
  for (let S = 1; S <= 40; S++) {
    const low = Math.max(2, Math.floor(S / 3)), high = Math.max(3, Math.floor(S / 2));
    const middle = Math.floor((low + high) / 2);
    for (const order of ["reported", "ours"] as const) {
      const from = order === "ours" ? low : middle;
      const expected = new Set<string>();
      for (let start = 0; start < S; start++) {
        for (let end = start + 1; end <= S; end++) {
          for (let n = from; n <= high; n++) {
            if (end - start === Math.min(n, S)) expected.add(`${start}+${end - start}`);
          }
        }
      }
      const actual = slidingWindows(S, order).map((w) => `${w.start}+${w.length}`);
      strictEqual(actual.length, expected.size);
      deepStrictEqual(new Set(actual), expected);
    }
  }
});

Deno.test("windowLengths() goes up from the midpoint, then down, when the order is ours", () => {
  deepStrictEqual(windowRange(20), { shortest: 6, first: 8, longest: 10 });
  deepStrictEqual(windowLengths(20, "reported"), [8, 9, 10]);
  deepStrictEqual(windowLengths(20, "ours"), [8, 9, 10, 7, 6]);
  deepStrictEqual(slidingWindows(2, "ours"), [{ length: 2, start: 0 }]);
  deepStrictEqual(slidingWindows(1, "reported"), [{ length: 1, start: 0 }]);
  throws(() => slidingWindows(0, "ours"), /slices >= 1, not 0/);
});

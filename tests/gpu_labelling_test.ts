import { deepStrictEqual, rejects, strictEqual as equal } from "node:assert/strict";
import { gpuLabelling, labellingFor } from "../model/sss/gpu_labelling.ts";
import { labelVoxelsByDfs } from "../model/sss/pcsw/labelling.ts";
import type { Connectivity, VolumeShape } from "../model/sss/pcsw/volume.ts";
import { slidingWindows } from "../model/sss/pcsw/windows.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { hashUnits } from "./sss_golden.ts";

const SHAPES: VolumeShape[] = [[1, 1, 1], [3, 1, 17], [5, 9, 7], [6, 17, 13]];
const CONNECTIVITIES: Connectivity[] = [6, 26];

function noise(seed: string, [S, H, W]: VolumeShape, density: number): Uint8Array {
  return Uint8Array.from(hashUnits(seed, S * H * W), (u) => u < density ? 1 : 0);
}

/** Replaces each label by 1 + the first index that has it. */
function byFirstVoxel(labels: ArrayLike<number>): number[] {
  const first = new Map([[0, 0]]);
  return Array.from(labels, (label, i) => {
    if (!first.has(label)) first.set(label, i + 1);
    return first.get(label)!;
  });
}

async function compare(shape: VolumeShape, connectivity: Connectivity, batchBytes = Infinity) {
  const masks = [0, 0.2, 0.5, 1].map((density) => noise(`${shape}/${density}`, shape, density));
  const windows = slidingWindows(shape[0], "ours");
  const expected = await labelVoxelsByDfs(masks, shape, windows, connectivity);
  const actual = await gpuLabelling({ batchBytes })(masks, shape, windows, connectivity);
  for (let c = 0; c < masks.length; c++) {
    for (let w = 0; w < windows.length; w++) {
      deepStrictEqual(
        Array.from(actual(c, w)),
        byFirstVoxel(expected(c, w)),
        `${shape}, ${connectivity}-connected, class ${c}, window ${w}`,
      );
    }
  }
}

for (const schedule of SCHEDULES) {
  Deno.test(`gpuLabelling() equals the depth-first search when run on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      for (const shape of SHAPES) {
        for (const connectivity of CONNECTIVITIES) await compare(shape, connectivity);
      }
    }));
}

Deno.test("gpuLabelling() gives the same labels when windows are split into batches", async () => {
  await compare([6, 17, 13], 26, 3 * 4 * 17 * 13 * 4);
});

Deno.test("gpuLabelling() joins a path that winds through a whole window", async () => {
  const shape: VolumeShape = [3, 16, 33];
  const mask = new Uint8Array(3 * 16 * 33);
  for (let z = 0; z < 3; z += 2) {
    for (let y = 0; y < 16; y += 2) {
      const row = (z * 16 + y) * 33;
      mask.fill(1, row, row + 33);
      if (y + 2 < 16) mask[row + 33 + (y % 4 === 0 ? 32 : 0)] = 1;
    }
  }
  mask[(16 + 14) * 33] = 1;
  const labels = await gpuLabelling()([mask], shape, [{ start: 0, length: 3 }], 6);
  deepStrictEqual(Array.from(labels(0, 0)), Array.from(mask));
});

Deno.test("gpuLabelling() is refused when there is nothing to label", async () => {
  await rejects(async () => await gpuLabelling()([], [1, 1, 1], [], 6), RangeError);
});

Deno.test("gpuLabelling() names what it needs and what there is when masks exceed the adapter", async () => {
  const side = 2 ** 16;
  const windows = [{ start: 0, length: 1 }];
  await rejects(
    async () => await gpuLabelling()([new Uint8Array(0)], [1, side, side], windows, 6),
    {
      name: "MemoryError",
      needed: 4 * side * side,
      message: /needs 16\.0 GiB at once; this adapter binds at most \d+\.\d [MG]iB\.$/,
    },
  );
});

Deno.test("labellingFor() leaves labels to the host on software adapters only", () => {
  equal(labellingFor({ software: true }), undefined);
  equal(typeof labellingFor({ software: false }), "function");
});

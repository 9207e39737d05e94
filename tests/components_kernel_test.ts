import { deepEqual } from "node:assert/strict";
import { type ComponentsShape, lowerComponents } from "../shaders/components.ts";
import { values } from "./close.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

/** Labels by flood fill from each unlabelled voxel in order. */
function reference(shape: ComponentsShape, mask: Uint32Array, windows: Uint32Array): Uint32Array {
  const { maxLength, depth, height, width, connectivity } = shape;
  const voxels = maxLength * height * width;
  const labels = new Uint32Array(shape.windows * voxels);
  const steps: number[][] = [];
  for (let code = 0; code < 27; code++) {
    const step = [Math.floor(code / 9) - 1, Math.floor(code / 3) % 3 - 1, code % 3 - 1];
    const moves = step.filter((s) => s !== 0).length;
    if (moves > 0 && (connectivity === 26 || moves === 1)) steps.push(step);
  }
  for (let w = 0; w < shape.windows; w++) {
    const [volume, first, length] = windows.subarray(3 * w);
    const set = (z: number, y: number, x: number) =>
      z >= 0 && z < length && y >= 0 && y < height && x >= 0 && x < width &&
      mask[((volume * depth + first + z) * height + y) * width + x] !== 0;
    for (let seed = 0; seed < voxels; seed++) {
      const queue = [seed];
      while (queue.length > 0) {
        const i = queue.pop()!;
        const [z, y, x] = [
          Math.floor(i / (height * width)),
          Math.floor(i / width) % height,
          i % width,
        ];
        if (!set(z, y, x) || labels[w * voxels + i] !== 0) continue;
        labels[w * voxels + i] = seed + 1;
        for (const [dz, dy, dx] of steps) {
          if (set(z + dz, y + dy, x + dx)) queue.push(i + (dz * height + dy) * width + dx);
        }
      }
    }
  }
  return labels;
}

/** One corridor that winds through the whole slice: the longest chains of links. */
function serpentine(height: number, width: number): Uint32Array {
  return Uint32Array.from({ length: height * width }, (_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    return y % 2 === 0 || x === (y % 4 === 1 ? width - 1 : 0) ? 1 : 0;
  });
}

for (const schedule of SCHEDULES) {
  for (const connectivity of [6, 26] as const) {
    const name = `lowerComponents() finds ${connectivity}-connected components`;
    Deno.test(`${name} when run on ${schedule}`, async () => {
      const device = await deviceFor(schedule);
      for (const density of [0.15, 0.4, 0.7]) {
        const sizes = { depth: 7, height: 17, width: 33 };
        const noise = values(2 * 7 * 17 * 33, 100 * density);
        const mask = Uint32Array.from(noise, (value) => value < 2 * density - 1 ? 3 : 0);
        const windows = Uint32Array.of(0, 0, 3, 0, 1, 3, 1, 5, 2, 1, 6, 1, 1, 0, 3);
        const shape = { windows: 5, maxLength: 3, ...sizes, connectivity };
        const lowering = lowerComponents(shape, device.profile);
        const expected = reference(shape, mask, windows);
        const inputs = [mask, windows];
        const outputs = [expected.length];
        const [out] = await runLowering(device, lowering, inputs, outputs);
        deepEqual(new Uint32Array(out.buffer), expected);
      }
    });

    Deno.test(`${name} along a winding corridor on ${schedule}`, async () => {
      const device = await deviceFor(schedule);
      const sizes = { maxLength: 1, depth: 1, height: 31, width: 40 };
      const shape = { windows: 1, ...sizes, connectivity };
      const [mask, windows] = [serpentine(31, 40), Uint32Array.of(0, 0, 1)];
      const lowering = lowerComponents(shape, device.profile);
      const [out] = await runLowering(device, lowering, [mask, windows], [mask.length]);
      deepEqual(new Uint32Array(out.buffer), mask);
    });
  }
}

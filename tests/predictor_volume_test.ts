import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { VolumePredictor } from "../model/predictors/volume_predictor.ts";
import { intensityRange, sliceLayout, volumeFrames } from "../model/predictors/volume_source.ts";
import { values } from "./close.ts";
import { smallModel } from "./predictor_model.ts";

const model = await smallModel();
const SHAPE = [5, 18, 22] as const;

/** A bright ball in noise. */
function scan() {
  const noise = values(SHAPE[0] * SHAPE[1] * SHAPE[2], 7, 40);
  const data = noise.map((v, i) => {
    const [z, y, x] = [Math.floor(i / 396), Math.floor(i / 22) % 18, i % 22];
    return v + ((2 * (z - 2)) ** 2 + (y - 8) ** 2 + (x - 11) ** 2 < 30 ? 400 : 0);
  });
  return { data, shape: SHAPE };
}

Deno.test("volumeFrames() cuts slices along any axis", async () => {
  const data = Float32Array.from({ length: 24 }, (_, i) => i);
  const volume = { data, shape: [2, 3, 4] as const };
  const wanted = {
    0: { slice: 1, height: 3, width: 4, voxels: [12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23] },
    1: { slice: 2, height: 2, width: 4, voxels: [8, 9, 10, 11, 20, 21, 22, 23] },
    2: { slice: 3, height: 2, width: 3, voxels: [3, 7, 11, 15, 19, 23] },
  };
  for (const axis of [0, 1, 2] as const) {
    const { slice, height, width, voxels } = wanted[axis];
    const frames = volumeFrames(volume, axis, [0, 255]);
    equal(frames.count, SHAPE.length === 3 ? volume.shape[axis] : 0);
    const image = await frames.read(slice);
    deepEqual([image.height, image.width], [height, width]);
    deepEqual(Array.from(image.data), voxels.flatMap((v) => [v, v, v]));
    equal(sliceLayout(volume.shape, axis).strides.slice, [12, 4, 1][axis]);
  }
});

Deno.test("intensityRange() leaves out half a percent at either end, and what is no number", () => {
  const data = new Float32Array(20000).map((_, i) => i % 1000);
  const [low, high] = intensityRange(data);
  ok(Math.abs(low - 5) < 1 && Math.abs(high - 994) < 1, `${low} to ${high}`);
  data[3] = NaN;
  data[4] = Infinity;
  const cleaned = intensityRange(data);
  ok(Math.abs(cleaned[0] - low) < 1 && Math.abs(cleaned[1] - high) < 1, `${cleaned}`);
  deepEqual(intensityRange(new Int16Array(4).fill(-7)), [-7, -7]);
  throws(() => intensityRange(Float32Array.of(NaN, Infinity)), /no voxel with a finite/);
});

Deno.test("volumeFrames() shows what is no number black, and clips at the range", async () => {
  const data = Float32Array.of(NaN, -Infinity, Infinity, 0, 40, 1e9);
  const frames = volumeFrames({ data, shape: [1, 2, 3] }, 0, [0, 100]);
  const { data: pixels } = await frames.read(0);
  deepEqual([0, 1, 2, 3, 4, 5].map((i) => pixels[3 * i]), [0, 0, 255, 0, 102, 255]);
  throws(() => volumeFrames({ data, shape: [1, 2, 2] }, 0), /6 voxels, not 1 x 2 x 2/);
  throws(() => volumeFrames({ data, shape: [1, 2, 3] }, 0, [2, 1]), /2 to 1 are no range/);
});

for (const axis of [0, 2] as const) {
  Deno.test(`VolumePredictor labels the scan's own layout along axis ${axis}`, async () => {
    const predictor = new VolumePredictor(model, scan(), { axis });
    const middle = SHAPE[axis] >> 1;
    await predictor.addPointsOrBox(middle, 4, { box: axis === 0 ? [5, 3, 16, 13] : [3, 0, 13, 4] });
    await predictor.addPointsOrBox(middle, 9, { points: [[2, 2]], labels: [1] });
    const seen: number[] = [];
    const slices = new Map<number, Float32Array>();
    const { labels, objectIds } = await predictor.segment(({ frame, logits }) => {
      seen.push(frame);
      slices.set(frame, logits);
    });
    deepEqual(objectIds, [4, 9]);
    const all = Array.from({ length: SHAPE[axis] }, (_, i) => i);
    deepEqual(seen, [...all.slice(middle), ...all.slice(0, middle).reverse()]);
    const { height, width, strides } = sliceLayout(SHAPE, axis);
    for (const [slice, logits] of slices) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const [a, b] = [logits[y * width + x], logits[(height + y) * width + x]];
          const label = Math.max(a, b) <= 0 ? 0 : a >= b ? 1 : 2;
          const voxel = slice * strides.slice + y * strides.row + x * strides.voxel;
          equal(labels[voxel], label, `voxel ${voxel}`);
        }
      }
    }
    await predictor.close();
  });
}

Deno.test("VolumePredictor tracks slices as the video predictor tracks frames", async () => {
  const volume = scan();
  const video = new VideoPredictor(model, volumeFrames(volume, 0));
  const predictor = new VolumePredictor(model, volume);
  const prompt = { points: [[11, 8]] as const, labels: [1] };
  await video.addPointsOrBox(0, 1, prompt);
  await predictor.addPointsOrBox(0, 1, prompt);
  const frames: Float32Array[] = [];
  for await (const { logits } of video.propagate()) frames.push(logits);
  let count = 0;
  for await (const { frame, logits } of predictor.propagate()) {
    deepEqual(logits, frames[frame]);
    count++;
  }
  equal(count, 5, "there is nothing before the first slice");
  await video.close();
  await predictor.close();
});

Deno.test("VolumePredictor ends where all objects are removed meanwhile", async () => {
  const predictor = new VolumePredictor(model, scan());
  await predictor.addPointsOrBox(2, 1, { box: [1, 1, 9, 9] });
  const slices: number[] = [];
  for await (const { frame } of predictor.propagate()) {
    slices.push(frame);
    if (frame === 3) await predictor.removeObject(1);
  }
  deepEqual(slices, [2, 3]);
  await predictor.close();
});

Deno.test("VolumePredictor refuses what it cannot do in one sentence", async () => {
  const predictor = new VolumePredictor(model, scan());
  await rejects(predictor.segment(), /nothing to track/);
  await rejects(predictor.addPointsOrBox(5, 1, { box: [1, 1, 2, 2] }), /no frame 5/);
  const empty = { data: new Float32Array(0), shape: [0, 2, 2] as const };
  throws(() => new VolumePredictor(model, empty, { range: [0, 1] }), /0 voxels/);
});

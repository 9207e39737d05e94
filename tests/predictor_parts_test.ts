/** Parts of the predictors that compute on the host, and small ones on the GPU. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { read, tensor } from "../engine/mod.ts";
import { roundToBfloat16 } from "../model/predictors/bfloat16.ts";
import {
  arrayFrames,
  collectFrames,
  type Frames,
  streamFrames,
} from "../model/predictors/frame_source.ts";
import { keepObjectsApart } from "../model/predictors/frame_tracker.ts";
import { resizePillow } from "../model/predictors/pillow_resize.ts";
import { joinClicks, resizeMaskPrompt } from "../model/predictors/prompts.ts";
import { labelRegions, replaceSmallRegions } from "../model/predictors/regions.ts";
import { resolveOptions } from "../model/predictors/video_options.ts";
import { CONFIGS } from "../model/config.ts";
import { values } from "./close.ts";
import { clip, picture } from "./predictor_model.ts";

Deno.test("resizePillow() keeps flat images flat, whatever the sizes and the filter", () => {
  for (const filter of ["bilinear", "bicubic"] as const) {
    const image = { data: new Uint8Array(7 * 5 * 2).fill(77), width: 7, height: 5 };
    for (const [width, height] of [[1, 1], [3, 19], [40, 2]] as const) {
      const { data } = resizePillow(image, width, height, filter);
      equal(data.length, width * height * 2);
      ok(data.every((v) => v === 77), `${filter} ${width} x ${height}`);
    }
  }
});

Deno.test("resizePillow() refuses sizes that cannot be", () => {
  const image = { data: new Uint8Array(12), width: 2, height: 2 };
  throws(() => resizePillow(image, 0, 4), /0 x 4/);
  throws(() => resizePillow(image, 2.5, 4), /2.5 x 4/);
  throws(() => resizePillow({ ...image, width: 5 }, 4, 4), /12 bytes/);
});

Deno.test("roundToBfloat16() rounds to the nearest, ties to even", async () => {
  const data = Float32Array.of(
    0,
    -0,
    1,
    1 + 2 ** -8,
    1 + 3 * 2 ** -8,
    -1 - 2 ** -8 - 2 ** -20,
    3e38,
  );
  const rounded = await read(roundToBfloat16(tensor(data)));
  const wanted = [0, -0, 1, 1, 1 + 2 ** -6, -1 - 2 ** -7, 2 ** 127 * (1 + 98 / 128)];
  deepEqual(Array.from(rounded), wanted.map(Math.fround));
  const noise = values(4096, 5, 1000);
  const bits = new Uint32Array(noise.buffer);
  const reference = Uint32Array.from(
    bits,
    (b) => ((b + 0x7fff + ((b >>> 16) & 1)) >>> 16) << 16,
  );
  deepEqual(await read(roundToBfloat16(tensor(noise))), new Float32Array(reference.buffer));
});

Deno.test("labelRegions() joins pixels that touch at a corner", () => {
  const mask = [1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1];
  const { labels, areas } = labelRegions((i) => mask[i] === 1, 3, 4);
  deepEqual(areas, [2, 1, 1]);
  deepEqual(Array.from(labels), [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 3]);
});

Deno.test("replaceSmallRegions() leaves regions above the area, and looks at the original", () => {
  // A ring of 8 around a hole of 1, beside a column of background that is 3 high.
  const map = Float32Array.of(1, 1, 1, -5, 1, -5, 1, -5, 1, 1, 1, -5);
  const holes = (maxArea: number) => ({ inside: (v: number) => v <= 0, maxArea, value: 0.5 });
  const islands = { inside: (v: number) => v > 0, maxArea: 8, value: -9 };
  deepEqual([...replaceSmallRegions(map, 3, 4, [holes(2)])].filter((v) => v === 0.5).length, 1);
  deepEqual([...replaceSmallRegions(map, 3, 4, [holes(3)])].filter((v) => v === 0.5).length, 4);
  const both = replaceSmallRegions(map, 3, 4, [holes(2), islands]);
  equal(both[5], 0.5, "the filled hole was no foreground before");
  equal(both.filter((v) => v === -9).length, 8);
  deepEqual(replaceSmallRegions(map, 3, 4, [holes(0)]), map);
});

Deno.test("keepObjectsApart() leaves each pixel to the first of the largest logits", () => {
  const logits = Float32Array.of(3, -20, 1, 2, -30, 1);
  keepObjectsApart(logits, 2);
  deepEqual(Array.from(logits), [3, -20, 1, -10, -30, -10]);
});

Deno.test("resizeMaskPrompt() is 1 where at least half of a pixel is inside", async () => {
  const mask = { data: Uint8Array.of(7, 7, 0, 0, 7, 7, 0, 0), width: 4, height: 2 };
  const resized = resizeMaskPrompt(mask, 2);
  deepEqual(resized.shape, [1, 1, 2, 2]);
  deepEqual(Array.from(await read(resized)), [1, 0, 1, 0]);
  const same = { data: Uint8Array.of(0, 9, 9, 0), width: 2, height: 2 };
  deepEqual(Array.from(await read(resizeMaskPrompt(same, 2))), [0, 1, 1, 0]);
  throws(() => resizeMaskPrompt({ data: new Uint8Array(0), width: 0, height: 0 }, 2), /0 pixels/);
});

Deno.test("joinClicks() puts new clicks after earlier ones", () => {
  const added = { coords: [5, 6], labels: [0] };
  deepEqual(joinClicks(undefined, added), added);
  const joined = joinClicks({ coords: [1, 2, 3, 4], labels: [2, 3] }, added);
  deepEqual(joined, { coords: [1, 2, 3, 4, 5, 6], labels: [2, 3, 0] });
});

Deno.test("collectFrames() takes arrays and asynchronous iterators alike", async () => {
  const frames = clip(3);
  async function* arriving(): Frames & AsyncGenerator<typeof frames[number]> {
    for (const frame of frames) yield await Promise.resolve(frame);
  }
  for (const source of [await collectFrames(frames), await collectFrames(arriving())]) {
    equal(source.count, 3);
    deepEqual(await source.read(2), frames[2]);
  }
  await rejects(collectFrames([]), /no frames/);
  throws(() => arrayFrames([picture(0), picture(1, 9, 9)]), /Frame 1 has 9 x 9 pixels/);
  const short = { ...picture(0), data: new Uint8Array(7) };
  throws(() => arrayFrames([short]), /Frame 0 has 7 bytes/);
});

Deno.test("streamFrames() keeps the latest frames only, and reads no further than asked", async () => {
  let given = 0;
  function* endless() {
    while (true) yield picture(given++);
  }
  const source = await streamFrames(endless(), { count: 100, keep: 3 });
  equal(given, 1);
  await source.read(10);
  equal(given, 11);
  deepEqual(await source.read(8), picture(8));
  await rejects(async () => await source.read(7), /Frame 7 of the stream is gone/);
  const short = await streamFrames(clip(2), { count: 5 });
  await rejects(async () => await short.read(4), /ends after 2 of its 5 frames/);
  await rejects(streamFrames([], { count: 2 }), /ends after 0/);
});

Deno.test("streamFrames() reads a frame once that is asked for several times at once", async () => {
  async function* slow() {
    for (const frame of clip(6)) {
      await new Promise((done) => setTimeout(done, 1));
      yield frame;
    }
  }
  const source = await streamFrames(slow(), { count: 6 });
  const found = await Promise.all([5, 5, 3].map((index) => source.read(index)));
  deepEqual(found, [picture(5), picture(5), picture(3)]);
});

Deno.test("resolveOptions() keeps what tracking looks back to beyond the frames that can be edited", () => {
  const config = CONFIGS["sam2.1_hiera_t"];
  equal(resolveOptions(config, {}).reach, 32);
  equal(resolveOptions({ ...config, memoryTemporalStrideForEval: 4 }, { keepFrames: 1 }).reach, 29);
  equal(resolveOptions(config, { keepFrames: Infinity }).reach, Infinity);
});

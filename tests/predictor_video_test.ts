import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { runtime } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { arrayFrames, type FrameSource } from "../model/predictors/frame_source.ts";
import type {
  FrameMasks,
  PropagateOptions,
  VideoOptions,
} from "../model/predictors/video_options.ts";
import { inBatches, largestBytes } from "../model/predictors/object_batches.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { close } from "./close.ts";
import { liveHeapBytes } from "./collect_garbage.ts";
import { binding } from "./engine_modes.ts";
import { clip, modelWithoutEncoder, picture, smallModel } from "./predictor_model.ts";

const model = await smallModel();
const click = (x: number, y: number, label = 1) => ({
  points: [[x, y]] as const,
  labels: [label],
});

async function masksOf(
  predictor: VideoPredictor,
  options: PropagateOptions = {},
): Promise<FrameMasks[]> {
  const all: FrameMasks[] = [];
  for await (const masks of predictor.propagate(options)) all.push(masks);
  return all;
}

function sameMasks(a: readonly FrameMasks[], b: readonly FrameMasks[], what: string): void {
  deepEqual(a.map(({ frame }) => frame), b.map(({ frame }) => frame), what);
  for (const [i, { frame, logits, objectScores }] of a.entries()) {
    close(logits, b[i].logits, 1e-4, `${what}, logits of frame ${frame}`);
    close(objectScores, b[i].objectScores, 1e-4, `${what}, scores of frame ${frame}`);
  }
}

Deno.test("VideoPredictor tracks objects as one batch as it tracks each by itself", async () => {
  const frames = arrayFrames(clip(5));
  const prompts = [[0, 7, click(6, 9)], [0, 3, click(15, 4)], [2, 5, click(12, 12)]] as const;
  const together = new VideoPredictor(model, frames);
  for (const [frame, id, prompt] of prompts) await together.addPointsOrBox(frame, id, prompt);
  deepEqual(together.objectIds, [7, 3, 5]);
  const all = await masksOf(together, { start: 0 });
  for (const [i, [frame, id, prompt]] of prompts.entries()) {
    const alone = new VideoPredictor(model, frames);
    await alone.addPointsOrBox(frame, id, prompt);
    const own = await masksOf(alone, { start: 0 });
    const plane = 24 * 20;
    const part = all.map((masks) => ({
      ...masks,
      objectIds: [id],
      logits: masks.logits.slice(i * plane, (i + 1) * plane),
      objectScores: masks.objectScores.slice(i, i + 1),
    }));
    sameMasks(own, part, `object ${id}`);
    await alone.close();
  }
  await together.close();
});

/** A model of which the adapter binds two objects at a time, when it is limited to `limit` bytes. */
async function modelForTwo() {
  const model = await smallModel({ maxObjPtrsInEncoder: 600 });
  return { model, limit: 2 * largestBytes(model.config) };
}

/** Masks of three objects, and the GPU's submissions for them. */
async function threeObjects(model: Sam2) {
  const { counters } = await runtime();
  const { submits } = counters;
  const predictor = new VideoPredictor(model, arrayFrames(clip(3)));
  for (const id of [1, 2, 3]) await predictor.addPointsOrBox(0, id, click(6 * id, 9));
  const masks = await masksOf(predictor).finally(() => predictor.close());
  return { masks, submits: counters.submits - submits };
}

Deno.test("VideoPredictor tracks objects in several batches where one is too large to bind", async () => {
  const { model, limit } = await modelForTwo();
  const together = await threeObjects(model);
  const { masks, submits } = await binding(limit, () => threeObjects(model));
  sameMasks(masks, together.masks, "batches");
  // For the memories of the prompted frame, and for two frames that are tracked.
  equal(submits, together.submits + 3);
});

Deno.test("VideoPredictor lets go of the first batch when the second one fails", async () => {
  const { model, limit } = await modelForTwo();
  const { trackStep } = model;
  let tracked = 0;
  model.trackStep = (input) => {
    if (input.embedding && ++tracked % 2 === 0) throw new Error("The second batch fails.");
    return trackStep.call(model, input);
  };
  await binding(limit, async () => {
    const { counters } = await runtime();
    await rejects(threeObjects(model), /The second batch fails/);
    const { liveBytes } = counters;
    await rejects(threeObjects(model), /The second batch fails/);
    equal(counters.liveBytes, liveBytes);
  });
});

Deno.test("inBatches() cuts as evenly as can be when a batch has a limit", async () => {
  const { config } = model;
  const sizes = (count: number, most: number) =>
    binding(most * largestBytes(config), async () => {
      const batches = await inBatches(Array.from({ length: count }, (_, i) => i), config);
      deepEqual(batches.flat(), Array.from({ length: count }, (_, i) => i));
      return batches.map(({ length }) => length);
    });
  deepEqual(await sizes(0, 4), []);
  deepEqual(await sizes(4, 4), [4]);
  deepEqual(await sizes(5, 4), [3, 2]);
  deepEqual(await sizes(20, 4), [4, 4, 4, 4, 4]);
  deepEqual(await sizes(3, 0.5), [1, 1, 1]);
});

/** Prompts, a propagation forwards, a correction and one backwards. */
async function session(frames: FrameSource, options: VideoOptions): Promise<FrameMasks[]> {
  const predictor = new VideoPredictor(model, frames, options);
  await predictor.addPointsOrBox(12, 1, click(6, 9));
  const all = await masksOf(predictor, { maxFrames: 20 });
  all.push(await predictor.addPointsOrBox(30, 1, click(15, 9, 0)));
  all.push(...await masksOf(predictor, { start: 29, maxFrames: 2 }));
  all.push(...await masksOf(predictor, { start: 12, reverse: true }));
  await predictor.close();
  return all;
}

Deno.test("VideoPredictor gives the same masks when far frames are forgotten", async () => {
  const frames = arrayFrames(clip(36));
  const bounded = await session(frames, { keepFrames: 3 });
  sameMasks(bounded, await session(frames, { keepFrames: Infinity }), "forgetting");
});

Deno.test("VideoPredictor forgets tracked frames that are far from all prompts", async () => {
  const predictor = new VideoPredictor(model, arrayFrames(clip(40)), { keepFrames: 2 });
  await predictor.addPointsOrBox(0, 1, click(6, 9));
  await masksOf(predictor, { maxFrames: 30 });
  const { conditioning, tracked } = predictor.memoryFrames(1);
  deepEqual(conditioning, [0]);
  deepEqual(
    tracked.sort((a, b) => a - b),
    Array.from({ length: 30 }, (_, i) => i + 1).filter((t) => t <= 6 || t >= 24),
  );
  equal(await predictor.memoryOf(1, 15), undefined);
  await predictor.addPointsOrBox(15, 1, click(6, 9));
  await masksOf(predictor, { start: 15, maxFrames: 1 });
  deepEqual(predictor.memoryFrames(1).conditioning, [0, 15], "a prompt there starts anew");
  await predictor.close();
});

Deno.test("VideoPredictor holds the same GPU and host memory after 200 and 2,000 frames", async () => {
  const count = 2001;
  const images = clip(16);
  const frames = { count, width: 24, height: 20, read: (t: number) => images[t % 16] };
  const predictor = new VideoPredictor(await modelWithoutEncoder(), frames);
  await predictor.addPointsOrBox(0, 1, click(6, 9));
  const { counters } = await runtime();
  const gpu: number[] = [];
  const host: number[] = [];
  for await (const { frame } of predictor.propagate()) {
    if (frame === 0 || frame % 200) continue;
    gpu.push(counters.liveBytes);
    host.push(liveHeapBytes());
  }
  deepEqual(gpu, new Array(10).fill(gpu[0]));
  // A leak of nothing but the masks would be 3 MB from frame 400 on.
  ok(host[9] < host[1] + 2 ** 20, `heap in MB: ${host.map((bytes) => bytes / 2 ** 20)}`);
  await predictor.close();
});

Deno.test("VideoPredictor frees all of its GPU memory when it is closed", async () => {
  const frames = arrayFrames(clip(3));
  const run = async () => {
    const predictor = new VideoPredictor(model, frames, { fillHoleArea: 4, bf16Memory: true });
    await predictor.addPointsOrBox(0, 1, click(6, 9));
    await predictor.addMask(1, 2, { data: new Uint8Array(24 * 20).fill(1), width: 24, height: 20 });
    await masksOf(predictor, { start: 0 });
    await predictor.close();
  };
  await run();
  const { counters } = await runtime();
  const before = counters.liveBytes;
  await run();
  equal(counters.liveBytes, before);
});

Deno.test("models and their predictors leave no GPU memory behind, one after the other", async () => {
  const { counters } = await runtime();
  const live: number[] = [];
  for (let i = 0; i < 3; i++) {
    const own = new Sam2(model.config);
    const weights = await FlatParameters.create(own);
    const predictor = new VideoPredictor(own, arrayFrames(clip(3)));
    await predictor.addPointsOrBox(0, 1, click(6, 9));
    await masksOf(predictor);
    await predictor.close();
    weights.destroy();
    live.push(counters.liveBytes);
  }
  deepEqual(live.slice(1), [live[0], live[0]]);
});

Deno.test("VideoPredictor reads a frame again only where its features are gone", async () => {
  const images = clip(4);
  const count = async (cacheFrames: number) => {
    const reads: number[] = [];
    const read = (t: number) => images[(reads.push(t), t)];
    const frames = { count: 4, width: 24, height: 20, read };
    const predictor = new VideoPredictor(model, frames, { cacheFrames });
    for (const frame of [0, 1, 0, 1]) await predictor.addPointsOrBox(frame, 1, click(6, 9));
    await masksOf(predictor, { maxFrames: 1 });
    await predictor.close();
    return reads;
  };
  deepEqual(await count(2), [0, 1]);
  deepEqual(await count(1), [0, 1, 0, 1, 0, 1]);
});

Deno.test("propagate() can be stopped, and goes on where it is asked to", async () => {
  const frames = arrayFrames(clip(6));
  const whole = new VideoPredictor(model, frames);
  await whole.addPointsOrBox(0, 1, click(6, 9));
  const all = await masksOf(whole);
  const stopped = new VideoPredictor(model, frames);
  await stopped.addPointsOrBox(0, 1, click(6, 9));
  const parts: FrameMasks[] = [];
  for await (const masks of stopped.propagate()) {
    parts.push(masks);
    if (masks.frame === 2) break;
  }
  parts.push(...await masksOf(stopped, { start: 3 }));
  sameMasks(all, parts, "in two parts");
  await whole.close();
  await stopped.close();
});

Deno.test("propagate() leaves out objects that are removed meanwhile, and ends without any", async () => {
  const predictor = new VideoPredictor(model, arrayFrames(clip(5)));
  await predictor.addPointsOrBox(0, 1, click(6, 9));
  await predictor.addPointsOrBox(0, 2, click(15, 9));
  const ids: number[][] = [];
  for await (const { frame, objectIds } of predictor.propagate()) {
    ids.push([...objectIds]);
    if (frame === 1) await predictor.removeObject(1);
    if (frame === 2) await predictor.addPointsOrBox(4, 9, click(6, 9));
    if (frame === 3) await predictor.removeObject(2);
  }
  deepEqual(ids, [[1, 2], [1, 2], [2], [2]], "new objects count from the next call on");
  deepEqual(predictor.objectIds, [9]);
  await predictor.close();
});

Deno.test("propagate() takes prompts that are added ahead of it into account next time", async () => {
  const frames = arrayFrames(clip(4));
  const [plain, prompted, predictor] = [0, 1, 2].map(() => new VideoPredictor(model, frames));
  for (const each of [plain, prompted, predictor]) {
    await each.addPointsOrBox(0, 1, click(6, 9));
  }
  await prompted.addPointsOrBox(2, 1, click(3, 3));
  const found: FrameMasks[] = [];
  for await (const masks of predictor.propagate()) {
    found.push(masks);
    if (masks.frame === 0) await predictor.addPointsOrBox(2, 1, click(3, 3));
  }
  sameMasks(found, await masksOf(plain), "this time");
  sameMasks(await masksOf(predictor), await masksOf(prompted), "next time");
  await Promise.all([plain, prompted, predictor].map((each) => each.close()));
});

Deno.test("VideoPredictor runs calls in order when none is awaited", async () => {
  const predictor = new VideoPredictor(model, arrayFrames(clip(3)));
  const results = await Promise.all([
    predictor.addPointsOrBox(0, 1, click(6, 9)),
    predictor.addPointsOrBox(0, 2, click(15, 9)),
    predictor.clearPromptsInFrame(0, 1),
  ]);
  deepEqual(results.map(({ objectIds }) => objectIds), [[1], [1, 2], [1, 2]]);
  equal(results[2].objectScores[0], -1024, "nothing is known of the first object any more");
  ok(results[2].logits.subarray(0, 24 * 20).every((logit) => logit === -1024));
  await predictor.close();
});

Deno.test("predictors take prompts as they are when calls are made", async () => {
  const video = new VideoPredictor(model, arrayFrames(clip(2)));
  const images = new ImagePredictor(model);
  await images.setImage(picture(0));
  const expected = [
    (await video.addPointsOrBox(0, 1, click(6, 9))).logits,
    (await video.addMask(0, 2, { data: new Uint8Array(24 * 20).fill(1), width: 24, height: 20 }))
      .logits,
    (await images.predict([click(6, 9)])).maskLogits,
  ];
  await video.reset();
  const points: [number, number][] = [[6, 9]];
  const data = new Uint8Array(24 * 20).fill(1);
  const calls = [
    video.addPointsOrBox(0, 1, { points, labels: [1] }).then(({ logits }) => logits),
    video.addMask(0, 2, { data, width: 24, height: 20 }).then(({ logits }) => logits),
    images.predict([{ points, labels: [1] }]).then(({ maskLogits }) => maskLogits),
  ];
  points[0][0] = 15;
  data.fill(0);
  deepEqual(await Promise.all(calls), expected);
  await video.close();
  await images.reset();
});

Deno.test("VideoPredictor refuses what it cannot do in one sentence, and stays usable", async () => {
  const frames = arrayFrames(clip(3));
  const predictor = new VideoPredictor(model, frames);
  await rejects(masksOf(predictor), /nothing to track/);
  await rejects(predictor.addPointsOrBox(3, 1, click(1, 1)), /no frame 3: .* 0 to 2/);
  await rejects(predictor.addPointsOrBox(0.5, 1, click(1, 1)), /no frame 0.5/);
  await rejects(predictor.addPointsOrBox(0, 1, {}), /needs points or a box/);
  await rejects(predictor.addPointsOrBox(0, 1, click(NaN, 1)), /not all finite/);
  await rejects(predictor.addPointsOrBox(0, 1, click(1, 1, 2)), /1 \(on the object\) or 0/);
  const points = { points: [[1, 2]] as const, labels: [] };
  await rejects(predictor.addPointsOrBox(0, 1, points), /1 points but 0 labels/);
  const box = { box: [1, 2, 3, 4] as const, clearOldPoints: false };
  await rejects(predictor.addPointsOrBox(0, 1, box), /box comes before/);
  const mask = { data: new Uint8Array(5), width: 2, height: 2 };
  await rejects(predictor.addMask(0, 1, mask), /5 pixels, not 2 x 2/);
  await rejects(predictor.clearPromptsInFrame(0, 4), /no object 4; the objects are: none/);
  await rejects(predictor.removeObject(4, { strict: true }), /no object 4/);
  deepEqual(await predictor.removeObject(4), { objectIds: [], updated: [] });
  deepEqual(predictor.objectIds, [], "failed prompts add no object");
  await predictor.addPointsOrBox(1, 1, click(6, 9));
  await rejects(masksOf(predictor, { start: 9 }), /no frame 9/);
  await rejects(masksOf(predictor, { maxFrames: -1 }), /maxFrames is -1/);
  equal((await masksOf(predictor)).length, 2);
  deepEqual(await masksOf(predictor, { start: 0, reverse: true }), []);
  await predictor.close();
});

Deno.test("VideoPredictor refuses unusable videos, models and options", async () => {
  const frames = arrayFrames(clip(2));
  const none = { count: 0, width: 4, height: 4, read: () => picture(0) };
  throws(() => new VideoPredictor(model, none), /video of 0 frames/);
  throws(() => new VideoPredictor(model, frames, { keepFrames: -1 }), /keepFrames is -1/);
  throws(() => new VideoPredictor(model, frames, { fillHoleArea: NaN }), /fillHoleArea is NaN/);
  throws(() => new VideoPredictor(model, frames, { cacheFrames: 0 }), /cacheFrames is 0/);
  const odd = { ...frames, read: () => picture(0, 10, 10) };
  const predictor = new VideoPredictor(model, odd);
  await rejects(predictor.addPointsOrBox(0, 1, click(1, 1)), /Frame 0 has 10 x 10 pixels/);
  const broken = { ...frames, read: () => Promise.reject(new Error("the disk is gone")) };
  const failing = new VideoPredictor(model, broken);
  await rejects(failing.addPointsOrBox(0, 1, click(1, 1)), /the disk is gone/);
});

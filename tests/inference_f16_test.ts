/** Inference with activations in half precision: predictors, and the commands' `--precision f16`. */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { autocast, forgetPlans, type Precision, runtime, tensor } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { arrayFrames } from "../model/predictors/frame_source.ts";
import { AutomaticMaskGenerator } from "../model/predictors/mask_generator.ts";
import type { BinaryMask } from "../model/predictors/video_options.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { VolumePredictor } from "../model/predictors/volume_predictor.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import type { RgbImage } from "../model/sam2/image_transform.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { createPhantom } from "../train/data/phantom.ts";
import { defaults } from "../train/run/options.ts";
import { Trainer } from "../train/trainer.ts";
import { onAdapter } from "./engine_modes.ts";
import { planOf } from "./plans.ts";
import { evalWith, inFolder, predictWith, trainWith } from "./run_commands.ts";
import { failure, filesOf, RANDOM, segmentWith, trackWith, writePicture } from "./run_sam.ts";
import { withFolder } from "./temporary_folder.ts";

/**
 * In relative 2-norm: values pass through some fifty stored tensors, of which each may round by 2^-12 on
 * average; 0.001 to 0.002 was measured with several seeds, nano and tiny.
 */
const TOLERANCE = 5e-3;

const model = new Sam2({ ...CONFIGS.nano, imageSize: 128 });
await FlatParameters.create(model, { seed: 1 });

/** Slices of the phantom's heart as frames: smooth shapes, borders and noise. */
const volume = await createPhantom({ size: 96, train: 1, validation: 1, test: 1 }).test[0].load();
const frames = Array.from({ length: 4 }, (_, z): RgbImage => {
  const [, height, width] = volume.shape;
  const plane = volume.image.subarray(z * height * width, (z + 1) * height * width);
  return {
    data: Uint8Array.from({ length: 3 * plane.length }, (_, i) => 255 * plane[i / 3 | 0]),
    width,
    height,
  };
});

/** Fails unless logits are nearly the same, and the masks where they exceed 0. */
function agree(half: Float32Array, whole: Float32Array, what: string): void {
  ok(half instanceof Float32Array && half.length === whole.length, what);
  let [error, norm, shared, either] = [0, 0, 0, 0];
  whole.forEach((value, i) => {
    error += (half[i] - value) ** 2;
    norm += value ** 2;
    if (value > 0 && half[i] > 0) shared++;
    if (value > 0 || half[i] > 0) either++;
  });
  const off = Math.sqrt(error / norm);
  ok(off <= TOLERANCE, `${what}: logits are off by ${off}`);
  ok(either > 0 && shared / either > 0.98, `${what}: overlap ${shared} of ${either}`);
}

/** What work gives, and bytes of intermediates of the largest plan that is made for it. */
async function measured<T>(work: () => Promise<T>): Promise<{ result: T; arena: number }> {
  const rt = await runtime();
  await forgetPlans();
  let arena = 0;
  const own = rt.requireRoom;
  rt.requireRoom = (plan, kept) => {
    arena = Math.max(arena, plan.memory.arena);
    own.call(rt, plan, kept);
  };
  try {
    return { result: await work(), arena };
  } finally {
    rt.requireRoom = own;
  }
}

/** Does work in both precisions; f16 takes less memory, if less so in a model as small as this. */
async function inBoth<T>(work: (precision: Precision) => Promise<T>) {
  const [whole, half] = [await measured(() => work("f32")), await measured(() => work("f16"))];
  ok(half.arena < 0.9 * whole.arena, `${half.arena} of ${whole.arena} bytes`);
  return { whole: whole.result, half: half.result };
}

Deno.test("ImagePredictor in f16 gives nearly the masks of f32 in less memory", async () => {
  const { whole, half } = await inBoth(async (precision) => {
    const predictor = new ImagePredictor(model, { precision });
    await predictor.setImage(frames[1]);
    const types = predictor.features.map(({ dtype }) => dtype);
    const first = await predictor.predict([{ points: [[48, 50]], labels: [1] }]);
    const side = model.sam_prompt_encoder.maskSize;
    const maskLogits = first.lowResLogits.slice(0, side * side);
    const prompt = { points: [[48, 50], [5, 5]] as const, labels: [1, 0], maskLogits };
    const second = await predictor.predict([prompt], { multimask: false });
    const embedding = await predictor.embedding();
    await predictor.setEmbedding(embedding);
    const again = await predictor.predict([prompt], { multimask: false });
    await predictor.reset();
    return { types, first, second, again, embedding };
  });
  deepEqual(whole.types, ["f32", "f32", "f32"]);
  deepEqual(half.types.slice(0, 2), ["f16", "f16"]);
  ok(half.embedding.levels.every(({ data }) => data instanceof Float32Array));
  agree(half.first.maskLogits, whole.first.maskLogits, "a click");
  agree(half.second.maskLogits, whole.second.maskLogits, "clicks and a mask");
  // The embedding was f16 already where it is f32 now.
  agree(half.again.maskLogits, half.second.maskLogits, "from the embedding");
});

Deno.test("VideoPredictor in f16 tracks nearly as in f32, and keeps smaller features", async () => {
  const { counters } = await runtime();
  const { whole, half } = await inBoth(async (precision) => {
    // No holes are filled: a region that is just small enough in one precision is not in the other.
    const options = { precision, bf16Memory: true };
    const predictor = new VideoPredictor(model, arrayFrames(frames), options);
    const before = counters.liveBytes;
    await predictor.addPointsOrBox(0, 1, { points: [[48, 50]], labels: [1] });
    const kept = counters.liveBytes - before;
    const inside = new Uint8Array(96 * 96).map((_, i) => Number(Math.abs(i % 96 - 48) < 20));
    await predictor.addMask(1, 2, { data: inside, width: 96, height: 96 });
    const all: Float32Array[] = [];
    for await (const { logits } of predictor.propagate()) all.push(logits);
    all.push((await predictor.addPointsOrBox(3, 1, { points: [[20, 20]], labels: [0] })).logits);
    const memory = await predictor.memoryOf(1, 2);
    await predictor.close();
    return { all, memory, kept };
  });
  equal(half.all.length, 5);
  for (const [i, logits] of half.all.entries()) agree(logits, whole.all[i], `frame ${i}`);
  for (const name of ["features", "pointer"] as const) {
    ok(half.memory![name] instanceof Float32Array);
  }
  ok(half.kept < whole.kept, `${half.kept} of ${whole.kept} bytes`);
});

Deno.test("VolumePredictor and AutomaticMaskGenerator take the precision, too", async () => {
  const scan = { data: volume.image.slice(0, 3 * 96 * 96), shape: [3, 96, 96] as const };
  const labels = await inBoth(async (precision) => {
    const predictor = new VolumePredictor(model, scan, { precision });
    await predictor.addPointsOrBox(1, 1, { box: [30, 30, 70, 70] });
    const { labels } = await predictor.segment();
    await predictor.close();
    return labels;
  });
  const same = labels.half.filter((label, i) => label === labels.whole[i]).length;
  ok(same > 0.99 * labels.whole.length && labels.whole.includes(1));
  const masks = await inBoth((precision) => {
    const all = { predIouThresh: 0, stabilityScoreThresh: 0, boxNmsThresh: 1 };
    const options = { ...all, pointsPerSide: 2, useM2m: true, minMaskRegionArea: 3, precision };
    return new AutomaticMaskGenerator(model, options).generate(frames[1]);
  });
  ok(masks.whole.length > 0);
  // Nearly equal scores may change places.
  const areas = (list: typeof masks.whole) => list.map(({ area }) => area).sort((a, b) => a - b);
  const [half, whole] = [areas(masks.half), areas(masks.whole)];
  equal(half.length, whole.length);
  half.forEach((area, i) => ok(Math.abs(area - whole[i]) < 0.02 * 96 * 96, `${half}; ${whole}`));
  deepEqual((masks.half[0].segmentation as BinaryMask).width, 96);
});

Deno.test("Trainer.predict() in f16 gives nearly the probabilities of f32", async () => {
  const data = createPhantom({ size: 32, train: 1, labeled: 1, validation: 1, test: 1 });
  const none = { ...data, labelled: [], unlabelled: [] };
  const trainer = await Trainer.create({ ...defaults.train, size: 64 }, none);
  const [scan] = await Promise.all(data.test.map((source) => source.load()));
  const { whole, half } = await inBoth((precision) => trainer.predict(scan, "oracle", precision));
  half.probabilities.forEach((p, i) => {
    const off = Math.abs(p - whole.probabilities[i]);
    // A weak memory may win over one that is nearly alike.
    ok(off < 0.01, `probability ${i} is off by ${off}`);
  });
});

Deno.test("Hiera-T takes 0.6 of the memory in f16", async () => {
  const tiny = new Sam2({ ...CONFIGS["sam2.1_hiera_t"], imageSize: 256 });
  const pixels = tensor(new Float32Array(3 * 256 * 256), [1, 3, 256, 256]);
  const arena = async (precision: Precision) => {
    const { levels } = autocast(precision, () => tiny.forwardImage(pixels));
    return (await planOf(levels, 0)).arenaBytes;
  };
  const [whole, half] = [await arena("f32"), await arena("f16")];
  ok(half < 0.6 * whole, `${half} of ${whole} bytes`);
});

/** On an adapter that lacks shader-f16. */
const withoutF16 = <T>(work: () => Promise<T>) => onAdapter({ f16: false }, work);

const REFUSAL =
  /^The adapter ".*" does not offer shader-f16, so that it has no tensors of f16: use f32\.$/;

Deno.test("predictors refuse f16 in a sentence where the adapter lacks it", () =>
  withoutF16(async () => {
    const refused = { name: "UserError", message: REFUSAL };
    const image = new ImagePredictor(model, { precision: "f16" });
    await rejects(image.setImage(frames[0]), refused);
    const video = new VideoPredictor(model, arrayFrames(frames), { precision: "f16" });
    await rejects(video.addPointsOrBox(0, 1, { points: [[1, 1]], labels: [1] }), refused);
  }));

Deno.test("segment and track take --precision, and refuse before anything is overwritten", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const commands = [
      [segmentWith, "segment.json", ["--point", "9,9"]],
      [segmentWith, "segment.json", ["--auto", "--points-per-side", "1"]],
      [trackWith, "track.json", ["--prompt", "0:1:point:9,9", "--no-overlay"]],
    ] as const;
    for (const [i, [command, file, options]] of commands.entries()) {
      const input = command === trackWith ? `${folder}/clip` : path;
      if (command === trackWith) {
        await Deno.mkdir(input);
        await writePicture(`${input}/0.png`);
      }
      const out = `${folder}/out${i}`;
      const args = [input, ...RANDOM, ...options, "--precision", "f16", "--out", out];
      equal((await command(args)).code, 0);
      const { model } = JSON.parse(await Deno.readTextFile(`${out}/${file}`));
      deepEqual(model.precision, "f16");
      const before = await filesOf(out);
      match(await withoutF16(() => failure(command(args))), REFUSAL);
      deepEqual(await filesOf(out), before);
      const wrong = args.map((arg) => arg === "f16" ? "f64" : arg);
      match(await failure(Promise.resolve().then(() => command(wrong))), /one of f32, f16/);
    }
  }));

Deno.test("eval and predict take --precision, and refuse where the adapter lacks f16", () =>
  inFolder(async (folder) => {
    const [run, out] = [`${folder}/run`, `${folder}/out`];
    const data = ["--data", `${folder}/data`, "--labeled", "1", "--method", "supervised"];
    const small = ["--size", "32", "--steps", "1", "--batch", "1", "--eval-limit", "1"];
    await trainWith([...data, ...small, "--out", run], Trainer.create);
    const f16 = ["--precision", "f16"];
    const whole = await evalWith([run], Trainer.create);
    const half = await evalWith([run, ...f16, "--out", out], Trainer.create);
    equal(whole.code + half.code, 0);
    match(half.out, /\(step 1\), computed in f16\.$/m);
    equal(JSON.parse(await Deno.readTextFile(`${out}/results.json`)).precision, "f16");
    const scan = `${folder}/data/data/patient005_frame01.h5`;
    const scans = `${folder}/scans`;
    equal((await predictWith([run, scan, "--out", scans, ...f16], Trainer.create)).code, 0);
    deepEqual(await filesOf(scans), ["patient005_frame01.nii.gz", "patient005_frame01.png"]);
    await withoutF16(async () => {
      const refused = { name: "UserError", message: REFUSAL };
      await rejects(evalWith([run, ...f16], Trainer.create), refused);
      await rejects(predictWith([run, scan, "--out", `${folder}/other`, ...f16]), refused);
    });
    await rejects(Deno.stat(`${folder}/other`), "nothing has been made");
  }));

/** Fine-tuning in less memory: values computed anew, steps of several micro-batches. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { gradients } from "../engine/mod.ts";
import { initialise } from "../engine/nn/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { Random } from "../train/data/random.ts";
import type { SegmentedSequence } from "../train/data/sequence.ts";
import { clipLoss } from "../train/finetune/clip.ts";
import { clipLeaves, drawClip } from "../train/finetune/sampling.ts";
import { type TuneOptions, Tuner } from "../train/finetune/tuner.ts";
import { planOf } from "./plans.ts";

const [SIDE, FRAMES] = [24, 2];

/** A square that moves by a pixel from frame to frame. */
const sequence: SegmentedSequence = {
  id: "square",
  name: "square",
  count: FRAMES,
  read: (t) => {
    const labels = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => {
      const [x, y] = [i % SIDE - t, Math.floor(i / SIDE)];
      return Number(x > 4 && x < 15 && y > 5 && y < 17);
    });
    const data = new Uint8Array(3 * SIDE * SIDE).map((_, i) => 30 + 160 * labels[i / 3 | 0]);
    return Promise.resolve({ image: { data, width: SIDE, height: SIDE }, labels });
  },
};

const OPTIONS: TuneOptions = {
  size: 32,
  steps: 2,
  batch: 1,
  frames: FRAMES,
  objects: 1,
  clicks: 0,
  seed: 1,
  learningRate: 1e-3,
  layerDecay: 0.9,
  weightDecay: 0.1,
  clip: 0.1,
  frozen: [],
};

const nano = (size: number) => new Sam2({ ...CONFIGS.nano, imageSize: size });

/** What a step reports, and the weights after it. */
async function tuned(changes: Partial<TuneOptions>) {
  const model = nano(OPTIONS.size);
  await initialise(model, 2);
  const tuner = await Tuner.create(model, { ...OPTIONS, ...changes }, [sequence]);
  const { losses, images } = await tuner.step();
  const { tensors } = await tuner.save();
  tuner.destroy();
  const weights = [...tensors].map(([key, { data }]) => [key, data] as const);
  return { losses, images, weights };
}

Deno.test("Tuner ends with the same bits where gradients compute values anew", async () => {
  const [kept, anew] = [await tuned({}), await tuned({ gradientCheckpointing: true })];
  deepEqual(anew, kept);
});

Deno.test("Tuner makes a step of several clips, one after the other", async () => {
  const { images, losses } = await tuned({ accumulate: 2, frames: 1 });
  equal(images, 2);
  const [{ losses: first }, { losses: second }] = await singles();
  const mean = (first.loss + second.loss) / 2;
  ok(Math.abs(losses.loss - mean) < 1e-5 * mean, `${losses.loss} ${mean}`);
});

/** Two steps that change nothing. */
async function singles() {
  const model = nano(OPTIONS.size);
  await initialise(model, 2);
  const options = { ...OPTIONS, learningRate: 0, frames: 1 };
  const tuner = await Tuner.create(model, options, [sequence]);
  const reports = [await tuner.step(), await tuner.step()];
  tuner.destroy();
  return reports;
}

Deno.test("Tuner makes clips as long as their own sequences, and alike within a step", async () => {
  const single = { ...sequence, id: "single", name: "single", count: 1 };
  const imagesOf = async (batch: number, steps: number) => {
    const model = nano(OPTIONS.size);
    await initialise(model, 2);
    const options = { ...OPTIONS, batch, learningRate: 0 };
    const tuner = await Tuner.create(model, options, [single, sequence]);
    const images: number[] = [];
    for (let i = 0; i < steps; i++) images.push((await tuner.step()).images);
    tuner.destroy();
    return images;
  };
  // An epoch begins a clip at each of the three frames.
  deepEqual((await imagesOf(1, 3)).sort(), [1, 2, 2]);
  deepEqual(await imagesOf(3, 1), [3]);
});

Deno.test("useCheckpointing() takes 0.6 of the memory of a clip", async () => {
  const size = 128;
  const clip = await drawClip(new Random(0), [sequence], 0, { frames: FRAMES, objects: 1 });
  const arena = async (checkpointing: boolean) => {
    const model = nano(size);
    if (checkpointing) model.useCheckpointing();
    const leaves = clipLeaves(new Random(0), [clip], { size, clicks: 0 });
    const plan = { prompts: new Map([[0, "box"]] as const), corrected: [], clicks: 0 };
    const { loss } = clipLoss(model, leaves, plan);
    const found = gradients(loss, model.namedParameters().map(([, p]) => p));
    return (await planOf([loss, ...found.flatMap((g) => g ?? [])], 0)).arenaBytes;
  };
  const [kept, anew] = [await arena(false), await arena(true)];
  ok(anew < 0.6 * kept, `${kept} ${anew}`);
});

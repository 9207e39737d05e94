/** Tracking as a whole, on a model of the smallest size. */
import { deepStrictEqual as deepEqual, strictEqual as equal, throws } from "node:assert/strict";
import { evaluate, readAll, type Tensor, tensor } from "../engine/mod.ts";
import { initialise } from "../engine/nn/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import type { TrackingOutputs } from "../model/sam2/memory_selection.ts";
import { expandFeatures, type FrameOutput, Sam2 } from "../model/sam2/sam2.ts";
import { close, values } from "./close.ts";

const SIZE = 32;
const model = new Sam2({ ...CONFIGS.nano, imageSize: SIZE });
await initialise(model, 3);

const image = (seed: number): Tensor => tensor(values(3 * SIZE * SIZE, seed), [1, 3, SIZE, SIZE]);

/** Two frames of two objects, clicked on the first; `after` runs between them. */
async function track(after: (output: FrameOutput) => Promise<void>): Promise<FrameOutput[]> {
  const outputs: TrackingOutputs<FrameOutput> = { conditioning: new Map(), tracked: new Map() };
  const step = (frame: number) =>
    model.trackStep({
      frame,
      numFrames: 2,
      isInitCondFrame: frame === 0,
      features: expandFeatures(model.forwardImage(image(frame)), 2),
      points: frame > 0 ? undefined : {
        coords: tensor([3, 4, 20, 25], [2, 1, 2]),
        labels: tensor([1, 1], [2, 1]),
      },
      outputs,
    });
  const first = step(0);
  outputs.conditioning.set(0, first);
  await after(first);
  return [first, step(1)];
}

Deno.test("trackStep() gives the same masks when frames are evaluated one by one or together", async () => {
  const together = await track(() => Promise.resolve());
  const oneByOne = await track((first) =>
    evaluate([first.objPtr, first.memory!.features, first.memory!.positions])
  );
  const second = together[1];
  deepEqual(second.lowResMultimasks.shape, [2, 3, SIZE / 4, SIZE / 4]);
  deepEqual(second.highResMasks.shape, [2, 1, SIZE, SIZE]);
  deepEqual(second.memory!.features.shape, [2, CONFIGS.nano.memDim, SIZE / 16, SIZE / 16]);
  const [a, b] = await readAll([second.highResMasks, oneByOne[1].highResMasks]);
  close(a, b, 1e-5, "logits");
});

Deno.test("trackStep() refuses prompts that contradict each other", () => {
  const features = expandFeatures(model.forwardImage(image(0)), 1);
  const input = {
    frame: 0,
    numFrames: 1,
    isInitCondFrame: true,
    features,
    outputs: { conditioning: new Map(), tracked: new Map() },
  };
  const points = { coords: tensor([1, 2], [1, 1, 2]), labels: tensor([1], [1, 1]) };
  const masks = tensor(new Float32Array(SIZE * SIZE), [1, 1, SIZE, SIZE]);
  throws(() => model.trackStep({ ...input, points, masks }), /either points or masks/);
  throws(() => model.trackStep({ ...input, prevSamMaskLogits: masks }), /corrected by points/);
  throws(() => model.trackStep({ ...input, isInitCondFrame: false }), /no frame has been prompted/);
});

Deno.test("ImagePredictor takes a box like its two corners as labelled points", async () => {
  const predictor = new ImagePredictor(model);
  const data = Uint8Array.from(values(24 * 20 * 3, 9), (v) => 127 * (v + 1));
  await predictor.setImage({ data, width: 24, height: 20 });
  const box = [2, 3, 17, 15] as const;
  const corners = { points: [[2, 3], [17, 15]] as const, labels: [2, 3] };
  const fromBox = await predictor.predict([{ box }, { box }], { multimask: false });
  const fromCorners = await predictor.predict([corners], { multimask: false });
  equal(fromBox.masksPerObject, 1);
  equal(fromBox.maskLogits.length, 2 * 24 * 20);
  close(fromBox.maskLogits.subarray(0, 24 * 20), fromCorners.maskLogits, 1e-5, "logits");
  close(fromBox.maskLogits.subarray(24 * 20), fromCorners.maskLogits, 1e-5, "second object");
  await predictor.reset();
});

/** Frames that `bench model --tracking` times, beside those of videos that were tracked from the start. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { takeInventory } from "../bench/inventory.ts";
import { CONFIGURATIONS, trackedFrame } from "../bench/parts.ts";
import { SteadyVideo } from "../bench/steady_video.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { runtime, type Tensor } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import type { FrameSource } from "../model/predictors/frame_source.ts";
import type { FrameMasks } from "../model/predictors/video_options.ts";
import { type FrameOutput, Sam2, type TrackStepInput } from "../model/sam2/sam2.ts";
import { picture } from "./predictor_model.ts";

/** Plans, and finds the operations and kernels of, what is computed together. */
async function planned(targets: readonly Tensor[]) {
  const { device: { offsetAlignment } } = await runtime();
  const workload = { name: "frame", forward: targets, backward: [] };
  const { plan, flops } = takeInventory(workload, await activeProfile(), offsetAlignment);
  return { flops, arena: plan.arenaBytes, kernels: plan.steps.map(({ kernel }) => kernel.label) };
}

/** Notes the graphs of tracked frames, on request, before they are computed. */
class Recording extends Sam2 {
  recording = false;
  fingerprint = "";
  plan: ReturnType<typeof planned> | undefined;

  override trackStep(input: TrackStepInput): FrameOutput {
    const output = super.trackStep(input);
    if (!this.recording) return output;
    const { lowResMasks, objPtr, objectScoreLogits, memory } = output;
    const kept = [lowResMasks, objPtr, objectScoreLogits, memory!.features];
    this.fingerprint = canonicalise(kept).fingerprint;
    this.plan = planned(kept);
    return output;
  }
}

const model = new Recording({ ...CONFIGURATIONS.tiny, imageSize: 32 });
await FlatParameters.create(model, { seed: 1 });
const frame = picture(3, 32, 32);
const frames: FrameSource = { count: 1000, width: 32, height: 32, read: () => frame };

/** A video with two prompted objects of which `tracked` frames after the prompted one are tracked. */
async function video(tracked: number): Promise<SteadyVideo> {
  const predictor = new SteadyVideo(model, frames);
  for (const id of [1, 2]) {
    await predictor.addPointsOrBox(0, id, { points: [[9 * id, 12]], labels: [1] });
  }
  for await (const _ of predictor.propagate({ maxFrames: tracked }));
  return predictor;
}

/** What a frame takes: dispatches, submits, its graph and plan, and bytes that remain. */
async function look(predictor: SteadyVideo, start: number) {
  const { counters } = await runtime();
  const { dispatches, submits, liveBytes } = counters;
  model.recording = true;
  const { value } = await predictor.propagate({ start }).next();
  model.recording = false;
  return {
    masks: value as FrameMasks,
    work: {
      dispatches: counters.dispatches - dispatches,
      submits: counters.submits - submits,
      grown: counters.liveBytes - liveBytes,
      graph: model.fingerprint,
      ...await model.plan!,
    },
  };
}

/** Ends a video; the bytes that it remembered. */
async function bytesOf(predictor: SteadyVideo): Promise<number> {
  const { counters } = await runtime();
  const before = counters.liveBytes;
  await predictor.close();
  return before - counters.liveBytes;
}

Deno.test("SteadyVideo plans the frames and holds the memory of a video that was tracked", async () => {
  const filled = await video(3);
  const next = await filled.fill(model.config);
  const real = await video(next - 1);
  deepEqual(filled.memoryFrames(2), real.memoryFrames(2));
  const after = await look(real, next);
  const wanted = await look(filled, next);
  deepEqual(wanted.work, after.work);
  equal(after.work.grown, 0);
  const memories = 7 * 4 + 16 * 4;
  ok(after.work.kernels.includes(`attention forward 2x4x${memories}x32`), `${after.work.kernels}`);
  deepEqual(filled.memoryFrames(2), real.memoryFrames(2));
  // With the same values behind it, a video that was tracked gives the same masks.
  await real.fill(model.config);
  const again = await look(real, next);
  deepEqual(again.masks.logits, wanted.masks.logits);
  equal(await bytesOf(filled), await bytesOf(real));
});

Deno.test("trackedFrame() has the operations of a frame that a predictor tracks", async () => {
  const predictor = await video(0);
  const { work } = await look(predictor, await predictor.fill(model.config));
  equal((await planned(trackedFrame(model, 2))).flops, work.flops);
  await predictor.close();
});

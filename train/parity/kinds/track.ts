/** Tracking through a video, frame by frame. */
import { clamp, dispose, submit, type Tensor } from "../../../engine/mod.ts";
import type { PointPrompt } from "../../../model/sam2/prompt_encoder.ts";
import { expandFeatures, type FrameOutput, type Sam2 } from "../../../model/sam2/sam2.ts";
import type { TrackingOutputs } from "../../../model/sam2/memory_selection.ts";
import type { Comparison } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";
import { type Outputs, withModel } from "../model.ts";
import { inputTensor, pointPrompt, videoFrames } from "../prompts.ts";

/** Logits of an earlier mask are limited to this before they serve as a prompt. */
const PROMPT_LOGIT_LIMIT = 32;

interface TrackOptions {
  readonly batch: number;
  readonly prompt: string;
  readonly correction_frame: number | null;
  readonly reverse: boolean;
}

interface Prompts {
  readonly points?: PointPrompt;
  readonly masks?: Tensor;
  readonly prevSamMaskLogits?: Tensor;
}

/** Runs a fixture of kind `track`. */
export function runTrack(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ model }) => {
    const produced = new Map<string, HostTensor>();
    const options = fixture.manifest as unknown as TrackOptions;
    const frames = videoFrames(fixture);
    const order = frames.map((_, t) => options.reverse ? frames.length - 1 - t : t);
    const state: TrackingOutputs<FrameOutput> = { conditioning: new Map(), tracked: new Map() };
    const kept: Tensor[] = [];
    let previous: FrameOutput | undefined;
    for (const [step, t] of order.entries()) {
      const prompts = promptsAt(fixture, options, step, t, previous);
      const { output, outputs } = trackFrame(model, frames[t], prompts, options, {
        frame: t,
        isInitCondFrame: step === 0,
        outputs: state,
        numFrames: frames.length,
      });
      const remembered = [output.memory!.features, output.objPtr, output.lowResMasks];
      kept.push(...remembered);
      for (const [name, value] of await readFrame(fixture, t, outputs, remembered)) {
        produced.set(name, value);
      }
      (step === 0 ? state.conditioning : state.tracked).set(t, output);
      previous = output;
    }
    await dispose(kept);
    return compareOutputs(fixture, produced);
  });
}

function promptsAt(
  fixture: Fixture,
  { prompt, correction_frame }: TrackOptions,
  step: number,
  frame: number,
  previous: FrameOutput | undefined,
): Prompts {
  if (step === 0) {
    return prompt === "mask"
      ? { masks: inputTensor(fixture, "mask_input") }
      : { points: pointPrompt(fixture, "point_coords", "point_labels") };
  }
  if (frame !== correction_frame) return {};
  return {
    points: pointPrompt(fixture, "correction_coords", "correction_labels"),
    prevSamMaskLogits: clamp(previous!.lowResMasks, -PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT),
  };
}

function trackFrame(
  model: Sam2,
  image: Tensor,
  prompts: Prompts,
  { batch, reverse }: TrackOptions,
  place: {
    frame: number;
    isInitCondFrame: boolean;
    outputs: TrackingOutputs<FrameOutput>;
    numFrames: number;
  },
): { output: FrameOutput; outputs: Outputs } {
  const outputs: Outputs = new Map();
  const features = expandFeatures(model.forwardImage(image), batch);
  const trace = (name: string, value: Tensor) => outputs.set(name, value);
  const output = model.trackStep({ ...place, ...prompts, features, reverse, trace });
  trace("pred_masks", output.lowResMasks);
  trace("pred_masks_high_res", output.highResMasks);
  trace("object_score_logits", output.objectScoreLogits);
  trace("obj_ptr", output.objPtr);
  trace("maskmem_features", output.memory!.features);
  trace("maskmem_pos_enc", output.memory!.positions);
  return { output, outputs };
}

/** Reads what the manifest declares for a frame, and keeps what later frames need on the GPU. */
async function readFrame(
  fixture: Fixture,
  frame: number,
  outputs: Outputs,
  keep: readonly Tensor[],
): Promise<Map<string, HostTensor>> {
  const named = [...outputs].map(([name, t]) => [`frame${frame}.${name}`, t] as const)
    .filter(([name]) => fixture.manifest.outputs?.[name]);
  const values = await (await submit({ read: named.map(([, t]) => t), keep }))();
  return new Map(named.map(([name, { shape }], i) => [name, { shape, data: values[i] }]));
}

/** The loss of gradient and optimiser fixtures: a tracked clip, judged frame by frame. */
import {
  add,
  clamp,
  detach,
  expand,
  mean,
  mul,
  neg,
  reshape,
  softplus,
  square,
  sub,
  type Tensor,
} from "../../engine/mod.ts";
import { bceWithLogits, dicePerObject } from "../../engine/losses.ts";
import type { TrackingOutputs } from "../../model/sam2/memory_selection.ts";
import { expandFeatures, type FrameOutput, type Sam2 } from "../../model/sam2/sam2.ts";
import type { Fixture } from "./fixture.ts";
import { inputTensor, pointPrompt, videoFrames } from "./prompts.ts";

/** The frame that is corrected by clicks, where a fixture has them. */
const CORRECTED_FRAME = 2;
/** Logits of an earlier mask are limited to this before they serve as a prompt. */
const PROMPT_LOGIT_LIMIT = 32;
const TARGET_IOU = 0.7;

/** The loss with its weighted terms, in the order of the manifest. */
export interface VideoLoss {
  readonly loss: Tensor;
  readonly terms: readonly Tensor[];
}

/**
 * Builds the loss of a fixture. A frame with a `W_low` input is prompted or tracked and has six terms; a
 * frame without takes its target as mask prompt and has one.
 */
export function videoLoss(fixture: Fixture, model: Sam2): VideoLoss {
  const frames = videoFrames(fixture);
  const state: TrackingOutputs<FrameOutput> = { conditioning: new Map(), tracked: new Map() };
  const terms: Tensor[] = [];
  let previous: FrameOutput | undefined;
  for (const [t, image] of frames.entries()) {
    const target = inputTensor(fixture, `target${t}`);
    const features = expandFeatures(model.forwardImage(image), target.shape[0]);
    const prompted = hasInput(fixture, `t${t}/W_low`);
    const prompts = prompted ? clicksAt(fixture, t, previous) : { masks: target };
    const output = model.trackStep({
      frame: t,
      isInitCondFrame: t === 0,
      features,
      ...prompts,
      outputs: state,
      numFrames: frames.length,
      runMemEncoder: frames.length > 1,
    });
    const pointer = weighted(inputTensor(fixture, `t${t}/W_ptr`), output.objPtr, 0.1);
    const low = () => weighted(inputTensor(fixture, `t${t}/W_low`), output.lowResMultimasks, 0.1);
    if (prompted) terms.push(...maskTerms(output, target), low(), ...scoreTerms(output));
    terms.push(pointer);
    (t === 0 || !prompted ? state.conditioning : state.tracked).set(t, output);
    previous = output;
  }
  return { loss: terms.reduce(add), terms };
}

const hasInput = (fixture: Fixture, name: string) => fixture.manifest.inputs?.[name] !== undefined;

function clicksAt(fixture: Fixture, t: number, previous: FrameOutput | undefined) {
  if (t === 0) return { points: pointPrompt(fixture, "point_coords", "point_labels") };
  if (t !== CORRECTED_FRAME || !hasInput(fixture, "correction_coords")) return {};
  const logits = detach(previous!.lowResMasks);
  return {
    points: pointPrompt(fixture, "correction_coords", "correction_labels"),
    prevSamMaskLogits: clamp(logits, -PROMPT_LOGIT_LIMIT, PROMPT_LOGIT_LIMIT),
  };
}

const weighted = (weights: Tensor, x: Tensor, factor: number) => mul(mean(mul(weights, x)), factor);

function maskTerms({ highResMultimasks: logits }: FrameOutput, target: Tensor): Tensor[] {
  const [batch, masks, height, width] = logits.shape;
  const targets = expand(target, logits.shape);
  const flat = (x: Tensor) => reshape(x, [batch * masks, height, width]);
  return [bceWithLogits(logits, targets), mean(dicePerObject(flat(logits), flat(targets)))];
}

function scoreTerms({ ious, objectScoreLogits }: FrameOutput): Tensor[] {
  return [
    mul(mean(square(sub(ious, TARGET_IOU))), 0.5),
    mul(mean(softplus(neg(objectScoreLogits))), 0.05),
  ];
}

/** The training graph of a clip: prompted, tracked and corrected frames with memory between them. */
import { gt, indexSelect, mul, select, sub, type Tensor, zeros } from "../../engine/mod.ts";
import { Training } from "../../engine/nn/mod.ts";
import type { TrackingOutputs } from "../../model/sam2/memory_selection.ts";
import type { PointPrompt } from "../../model/sam2/prompt_encoder.ts";
import { expandFeatures, type FrameOutput, type Sam2 } from "../../model/sam2/sam2.ts";
import type { ImageFeatures, SamHeadsOutput } from "../../model/sam2/sam2_image.ts";
import { correctingClick, looseBox, withPoints } from "./clicks.ts";
import { objective, type ObjectiveTerms, predictionTerms, sumTerms } from "./objective.ts";

/** How an object is shown to the model at first. */
export type FirstPrompt = "click" | "box" | "mask";

/** What decides the form of a clip's graph. */
export interface ClipPlan {
  /** The frames that are prompted before tracking begins, in order; frame 0 is one. */
  readonly prompts: ReadonlyMap<number, FirstPrompt>;
  /** The frames whose result is corrected by clicks. */
  readonly corrected: readonly number[];
  /** Clicks of each corrected frame. */
  readonly clicks: number;
}

/** What changes from clip to clip. */
export interface ClipLeaves {
  /** Normalised images of each frame, [N, 3, R, R]. */
  readonly images: readonly Tensor[];
  /** The image of each object, u32 [B]; not needed where N is 1. */
  readonly owners?: Tensor | undefined;
  /** Masks of the objects in each frame, [B, 1, R, R]. */
  readonly targets: readonly Tensor[];
  /** Shifts of the sides of boxes, -1 to 1, [T, B, 4]. */
  readonly boxShifts: Tensor;
  /** 1 where a correcting click is drawn from the object instead of from the errors, [T, clicks]. */
  readonly anywhere: Tensor;
  /** Key of the random numbers, u32 [2]. */
  readonly key: Tensor;
}

/** The loss of a clip, and its terms before weighting. */
export interface ClipLoss {
  readonly loss: Tensor;
  readonly terms: ObjectiveTerms;
}

/**
 * Tracks the objects of a clip in training mode and judges each prediction on the way. Gradients flow
 * through memories, object pointers and the masks that are fed back for correction. Frames that are
 * given their mask teach nothing by themselves, as their output is the mask.
 */
export function clipLoss(model: Sam2, leaves: ClipLeaves, plan: ClipPlan): ClipLoss {
  const clip = new Clip(model, leaves, plan);
  const rest = leaves.images.map((_, t) => t).filter((t) => !plan.prompts.has(t));
  const predictions = [...plan.prompts.keys(), ...rest].flatMap((t) => clip.track(t));
  const terms = sumTerms(predictions);
  return { loss: objective(terms), terms };
}

class Clip {
  private readonly outputs: TrackingOutputs<FrameOutput> = {
    conditioning: new Map(),
    tracked: new Map(),
  };
  private readonly training: Training;

  constructor(
    private readonly model: Sam2,
    private readonly leaves: ClipLeaves,
    private readonly plan: ClipPlan,
  ) {
    this.training = new Training(leaves.key);
  }

  /** Runs a frame and keeps its output for later ones; returns the terms of its predictions. */
  track(t: number): ObjectiveTerms[] {
    const { model, leaves, plan, training } = this;
    const features = this.features(t);
    const { heads, points, terms } = plan.prompts.get(t) === "mask"
      ? { heads: this.givenMask(t, features), points: undefined, terms: [] }
      : this.predict(t, features);
    const memory = leaves.images.length > 1
      ? model.encodeNewMemory(features.levels[2], heads.highResMasks, heads.objectScoreLogits, {
        isMaskFromPts: points !== undefined,
        training,
      })
      : undefined;
    const conditioning = plan.prompts.has(t) || plan.corrected.includes(t);
    const output = { ...heads, ...(memory && { memory }) };
    this.outputs[conditioning ? "conditioning" : "tracked"].set(t, output);
    return terms;
  }

  /** Features of a frame for every object. */
  private features(t: number): ImageFeatures {
    const { images, owners, targets } = this.leaves;
    const { levels, positions } = this.model.forwardImage(images[t]);
    if (!owners) return expandFeatures({ levels, positions }, targets[t].shape[0]);
    return { levels: levels.map((level) => indexSelect(level, 0, owners)), positions };
  }

  private givenMask(t: number, { levels }: ImageFeatures): SamHeadsOutput {
    const { leaves: { targets }, training } = this;
    return this.model.useMaskAsOutput(levels[2], levels.slice(0, -1), targets[t], { training });
  }

  /** The first prediction of a frame, then those after each correcting click. */
  private predict(t: number, features: ImageFeatures) {
    const { model, leaves, plan, training } = this;
    const isInitCondFrame = plan.prompts.has(t);
    const embedding = model.prepareMemoryConditionedFeatures({
      frame: t,
      isInitCondFrame,
      features,
      outputs: this.outputs,
      numFrames: leaves.images.length,
      training,
    });
    const segment = (points: PointPrompt | undefined, masks?: Tensor) =>
      model.forwardSamHeads(embedding, features.levels.slice(0, -1), { points, masks }, {
        multimask: model.usesMultimask(isInitCondFrame, points),
        training,
      });
    const target = leaves.targets[t];
    let points = this.firstPoints(t);
    let heads = segment(points);
    const terms = [predictionTerms(heads, target)];
    const clicks = plan.corrected.includes(t) ? plan.clicks : 0;
    for (let i = 0; i < clicks; i++) {
      const errors = sub(1, select(select(leaves.anywhere, 0, t), 0, i));
      const seen = mul(gt(heads.highResMasks, 0), errors);
      points = withPoints(points, correctingClick(target, seen, training.nextKey()));
      heads = segment(points, heads.lowResMasks);
      terms.push(predictionTerms(heads, target));
    }
    return { heads, points, terms };
  }

  private firstPoints(t: number): PointPrompt | undefined {
    const { leaves: { targets, boxShifts }, plan, training } = this;
    const kind = plan.prompts.get(t);
    if (kind === "box") return looseBox(targets[t], select(boxShifts, 0, t));
    if (kind !== "click") return undefined;
    return correctingClick(targets[t], zeros(targets[t].shape), training.nextKey());
  }
}

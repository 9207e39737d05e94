/** SAM-2: promptable segmentation of images and videos (Ravi et al., 2024). */
import {
  add,
  arange,
  argmax,
  cat,
  eq,
  expand,
  flatten,
  gt,
  minimum,
  mul,
  permute,
  repeatInterleave,
  reshape,
  select,
  sigmoid,
  sub,
  type Tensor,
  where,
  zeros,
} from "../../engine/mod.ts";
import type { Training } from "../../engine/nn/mod.ts";
import type { MemoryTokens } from "./memory_attention.ts";
import type { EncodedMemory } from "./memory_encoder.ts";
import { selectMemory, type TrackingOutputs } from "./memory_selection.ts";
import { sinePositionEncoding, sinePositionEncoding1d } from "./position_encoding.ts";
import type { PointPrompt } from "./prompt_encoder.ts";
import { type ImageFeatures, Sam2Image, type SamHeadsOutput } from "./sam2_image.ts";
import type { Trace } from "./trace.ts";

/** Largest logit of a pixel that belongs to another object. */
export const OVERLAP_LOGIT = -10;

/** What a frame leaves behind for later frames. */
export interface FrameOutput extends SamHeadsOutput {
  /** Memory of the frame; missing until the memory encoder has run. */
  readonly memory?: EncodedMemory;
}

/** What a frame attends to, as tensors of a batch of objects. */
export interface MemoryBank {
  /** Memories [B, memDim, H, W] with the row of the temporal encoding that each gets. */
  readonly memories: readonly { readonly features: Tensor; readonly temporalRow: number }[];
  /** Object pointers [B, dModel] with their distance in frames. */
  readonly pointers: readonly { readonly pointer: Tensor; readonly distance: number }[];
  /** Frames over which distances are spread, at least 1. */
  readonly pointerSpan: number;
}

/** How memories are made. */
export interface EncodeMemoryOptions {
  /** Whether each object stands for itself; then `nonOverlapMasksForMemEnc` does not apply. */
  readonly separateObjects?: boolean | undefined;
  /** Whether the masks come from clicks; then `binarizeMaskFromPtsForMemEnc` applies. */
  readonly isMaskFromPts?: boolean;
  /** Given in training mode: then no rule for evaluation applies. */
  readonly training?: Training | undefined;
}

/** A frame of a video and what is asked of it, for {@link Sam2.trackStep}. */
export interface TrackStepInput {
  /** Number of the frame in the video. */
  readonly frame: number;
  /** Whether the frame is prompted before it was ever tracked: then no memory is used. */
  readonly isInitCondFrame: boolean;
  /** Features of the frame, with the batch of objects; with `embedding` a batch of 1 serves all. */
  readonly features: ImageFeatures;
  /** The embedding from {@link Sam2.conditionOnMemory}, instead of that from `outputs`. */
  readonly embedding?: Tensor | undefined;
  /** Clicks and boxes, coordinates [B, P, 2] and labels [B, P]. */
  readonly points?: PointPrompt | undefined;
  /** Binary masks, [B, 1, R, R]. */
  readonly masks?: Tensor | undefined;
  /** Outputs of earlier frames. The caller stores the result there. */
  readonly outputs: TrackingOutputs<FrameOutput>;
  /** Frames of the video. */
  readonly numFrames: number;
  /** Whether time runs backwards. */
  readonly reverse?: boolean;
  /** Whether the frame gets a memory (default). */
  readonly runMemEncoder?: boolean;
  /** Whether each object of the batch stands for itself when memories are made. */
  readonly separateObjects?: boolean | undefined;
  /** Logits of an earlier result that points correct, [B, 1, R / 4, R / 4]. */
  readonly prevSamMaskLogits?: Tensor | undefined;
  /** Given in training mode. */
  readonly training?: Training | undefined;
  /** Receives `pix_feat_with_mem`, `low_res_multimasks` and `ious`. */
  readonly trace?: Trace | undefined;
}

/**
 * Leaves each pixel to the object with the largest logit; elsewhere logits are at most -10.
 *
 * @param masks logits of objects in one image, [B, 1, H, W].
 */
export function applyNonOverlappingConstraints(masks: Tensor): Tensor {
  const [batch] = masks.shape;
  if (batch === 1) return masks;
  const owner = argmax(masks, 0, true);
  const own = eq(owner, arange(batch, [batch, 1, 1, 1]));
  return where(own, masks, minimum(masks, OVERLAP_LOGIT));
}

/** Repeats the features of one image for a batch of objects. */
export function expandFeatures(features: ImageFeatures, batch: number): ImageFeatures {
  const levels = features.levels.map((level) => expand(level, [batch, -1, -1, -1]));
  return { levels, positions: features.positions };
}

/** [B, C, H, W] to [B, H * W, C]. */
const toTokens = (map: Tensor) => permute(flatten(map, 2), [0, 2, 1]);

/** The whole model: images, prompts, and memory across the frames of a video. */
export class Sam2 extends Sam2Image {
  /** Masks and memory of one frame, from its features, prompts and the outputs of other frames. */
  trackStep(input: TrackStepInput): FrameOutput {
    const { points, training, runMemEncoder = true, separateObjects } = input;
    const heads = this.segmentFrame(input);
    if (!runMemEncoder || this.config.numMaskmem === 0) return heads;
    const memory = this.encodeNewMemory(
      coarsest(input.features.levels),
      heads.highResMasks,
      heads.objectScoreLogits,
      { isMaskFromPts: points !== undefined, separateObjects, training },
    );
    return { ...heads, memory };
  }

  /** Whether the number of clicks leaves room for several readings. */
  usesMultimask(isInitCondFrame: boolean, points: PointPrompt | undefined): boolean {
    const { config } = this;
    const count = points?.labels.shape[1] ?? 0;
    return config.multimaskOutputInSam && (isInitCondFrame || config.multimaskOutputForTracking) &&
      config.multimaskMinPtNum <= count && count <= config.multimaskMaxPtNum;
  }

  /**
   * Makes the memory of a frame.
   *
   * @param embedding of the frame, not conditioned on memories, [B or 1, dModel, R / 16, R / 16].
   * @param masks logits, [B, 1, R, R].
   * @param objectScoreLogits [B, 1]
   */
  encodeNewMemory(
    embedding: Tensor,
    masks: Tensor,
    objectScoreLogits: Tensor,
    { isMaskFromPts = false, separateObjects = false, training }: EncodeMemoryOptions = {},
  ): EncodedMemory {
    const { config } = this;
    const apart = config.nonOverlapMasksForMemEnc && !separateObjects && !training
      ? applyNonOverlappingConstraints(masks)
      : masks;
    const binary = config.binarizeMaskFromPtsForMemEnc && isMaskFromPts && !training;
    const probability = binary ? gt(apart, 0) : sigmoid(apart);
    const scaled = add(
      mul(probability, config.sigmoidScaleForMemEnc),
      config.sigmoidBiasForMemEnc,
    );
    const memory = this.memory_encoder.forward(embedding, scaled, { skipMaskSigmoid: true });
    if (!this.no_obj_embed_spatial) return memory;
    const absent = reshape(sub(1, gt(objectScoreLogits, 0)), [-1, 1, 1, 1]);
    const mark = mul(absent, reshape(this.no_obj_embed_spatial, [1, -1, 1, 1]));
    return { ...memory, features: add(memory.features, mark) };
  }

  /**
   * The image embedding of a frame in the light of what came before, [B, dModel, R / 16, R / 16].
   *
   * @throws {UserError} where no frame has been prompted, unless this is an initial one.
   */
  prepareMemoryConditionedFeatures(
    input: Omit<TrackStepInput, "points" | "masks" | "prevSamMaskLogits" | "runMemEncoder">,
  ): Tensor {
    const { frame, isInitCondFrame, features, outputs, numFrames, training } = input;
    if (isInitCondFrame || this.config.numMaskmem === 0) return this.withoutMemory(features);
    const query = {
      frame,
      numFrames,
      reverse: input.reverse ?? false,
      training: training !== undefined,
    };
    const selected = selectMemory(outputs, query, this.config);
    const bank: MemoryBank = {
      ...selected,
      memories: selected.memories.map(({ output, temporalRow }) => {
        if (!output.memory) {
          throw new RangeError("trackStep: a remembered frame has no memory yet.");
        }
        return { features: output.memory.features, temporalRow };
      }),
      pointers: selected.pointers.map(({ output: { objPtr: pointer }, distance }) => ({
        pointer,
        distance,
      })),
    };
    return this.conditionOnMemory(features, bank, training);
  }

  /**
   * The image embedding of a frame in the light of memories, [B, dModel, R / 16, R / 16].
   *
   * @param features of the frame; a batch of 1 serves all objects of the bank.
   */
  conditionOnMemory(features: ImageFeatures, bank: MemoryBank, training?: Training): Tensor {
    const embedding = coarsest(features.levels);
    const [, channels, height, width] = embedding.shape;
    const conditioned = this.memory_attention.forward(
      toTokens(embedding),
      toTokens(coarsest(features.positions)),
      this.memoryTokens(bank),
      { grid: [height, width], training },
    );
    return reshape(permute(conditioned, [0, 2, 1]), [-1, channels, height, width]);
  }

  /** Masks of the frame, before its memory is made. */
  private segmentFrame(input: TrackStepInput): SamHeadsOutput {
    const { features, points, masks, prevSamMaskLogits, training, trace } = input;
    const highRes = features.levels.slice(0, -1);
    if (masks && this.config.useMaskInputAsOutputWithoutSam) {
      if (points) throw new RangeError("trackStep: give either points or masks, not both.");
      return this.useMaskAsOutput(coarsest(features.levels), highRes, masks, { training, trace });
    }
    if (prevSamMaskLogits && (!points || masks)) {
      throw new RangeError("trackStep: earlier logits are corrected by points, and by them alone.");
    }
    const embedding = input.embedding ?? this.prepareMemoryConditionedFeatures(input);
    trace?.("pix_feat_with_mem", embedding);
    const multimask = this.usesMultimask(input.isInitCondFrame, points);
    const prompts = { points, masks: prevSamMaskLogits ?? masks };
    return this.forwardSamHeads(embedding, highRes, prompts, { multimask, training, trace });
  }

  /** Lines up memories, then object pointers. */
  private memoryTokens(bank: MemoryBank): MemoryTokens {
    const memory: Tensor[] = [];
    const positions: Tensor[] = [];
    for (const { features, temporalRow } of bank.memories) {
      const [, channels, height, width] = features.shape;
      const place = toTokens(sinePositionEncoding(channels, height, width));
      const time = reshape(select(this.maskmem_tpos_enc, 0, temporalRow), [1, 1, -1]);
      memory.push(toTokens(features));
      positions.push(add(place, time));
    }
    const parts = this.config.dModel / this.config.memDim;
    for (const { pointer } of bank.pointers) {
      memory.push(reshape(pointer, [-1, parts, this.config.memDim]));
    }
    const pointerTokens = bank.pointers.length * parts;
    if (pointerTokens > 0) positions.push(this.pointerPositions(bank, parts));
    return { memory: cat(memory, 1), positions: cat(positions, 1), pointerTokens };
  }

  /** [1, pointers * parts, memDim]: how far away in time each pointer is. */
  private pointerPositions({ pointers, pointerSpan }: MemoryBank, parts: number): Tensor {
    const { memDim, dModel } = this.config;
    const count = pointers.length;
    if (!this.obj_ptr_tpos_proj) return zeros([1, count * parts, memDim]);
    const distances = pointers.map(({ distance }) => distance / pointerSpan);
    const time = this.obj_ptr_tpos_proj.forward(sinePositionEncoding1d(distances, dModel));
    return reshape(repeatInterleave(time, parts, 0), [1, count * parts, memDim]);
  }
}

/** The last of the levels. */
function coarsest(levels: readonly Tensor[]): Tensor {
  return levels[levels.length - 1];
}

/** Options, prompts and results of the video predictor. */
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import type { Sam2Config } from "../config.ts";
import type { Point } from "../sam2/image_prompts.ts";

/** How a video is tracked. The defaults are those of the official class. */
export interface VideoOptions {
  /**
   * `f16` stores activations in half precision and computes in f32; it needs an adapter with shader-f16.
   * Memories and results are f32 all the same. `f32` by default.
   */
  readonly precision?: Precision;
  /**
   * Background regions of at most this many pixels in a low-resolution mask are filled; 0 for none.
   * The official builder sets 8 along with its other post-processing.
   */
  readonly fillHoleArea?: number;
  /** Whether a pixel of the returned masks belongs to one object at most. */
  readonly nonOverlapMasks?: boolean;
  /** Whether the tracked frames around a prompted one are forgotten when propagation starts. */
  readonly clearNonCondMemAroundInput?: boolean;
  /** Whether frames that are corrected after tracking become conditioning frames. */
  readonly addAllFramesToCorrectAsCond?: boolean;
  /** Whether memories are rounded to bfloat16, as the official predictor stores them. */
  readonly bf16Memory?: boolean;
  /**
   * How far from the latest frame, and from prompted ones, edits see all that was tracked (default 16).
   * Frames further away are forgotten, which bounds the memory: a prompt there starts anew, like on a
   * frame that was never tracked. `Infinity` keeps everything, as the official predictor does.
   */
  readonly keepFrames?: number;
  /** Latest frames whose features stay in GPU memory, so that they need not be encoded again; 4 by default. */
  readonly cacheFrames?: number;
}

/** Clicks and a box on one object in one frame. */
export interface PointsPrompt {
  /** (x, y) in pixels of the video. */
  readonly points?: readonly Point[];
  /** One per point: 1 on the object, 0 off it. */
  readonly labels?: readonly number[];
  /** (x0, y0, x1, y1) in pixels of the video; it comes before all points. */
  readonly box?: readonly [x0: number, y0: number, x1: number, y1: number];
  /** Whether earlier points of the frame are replaced (default) or added to. */
  readonly clearOldPoints?: boolean;
  /** Whether coordinates are shares of the width and height, in [0, 1], instead of pixels. */
  readonly normalized?: boolean;
}

/** A binary mask of any size, row-major [height, width]; it covers the whole frame. */
export interface BinaryMask {
  /** 0 outside the object. */
  readonly data: Uint8Array;
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/** What to propagate over. */
export interface PropagateOptions {
  /** The first frame; the earliest prompted one where left out. */
  readonly start?: number | undefined;
  /** Frames after the first one, at most; all where left out. */
  readonly maxFrames?: number | undefined;
  /** Whether time runs backwards. */
  readonly reverse?: boolean | undefined;
}

/** Masks of all objects in one frame. */
export interface FrameMasks {
  /** Number of the frame. */
  readonly frame: number;
  /** The objects, in the order in which they were added. */
  readonly objectIds: readonly number[];
  /** Pixels per row of the video. */
  readonly width: number;
  /** Rows of the video. */
  readonly height: number;
  /** Logits [objects, height, width]; an object is where they exceed 0. */
  readonly logits: Float32Array;
  /** Logits of each object being in the frame; -1024 where nothing is known of it there. */
  readonly objectScores: Float32Array;
}

/** What a predictor remembers of an object at a frame. */
export interface ObjectMemory {
  /** Logits of the mask, [R / 4, R / 4]. */
  readonly lowResLogits: Float32Array;
  /** Logit of the object being in the frame. */
  readonly objectScore: number;
  /** Object pointer, [dModel]. */
  readonly pointer: Float32Array;
  /** Memory [memDim, R / 16, R / 16]; missing while a prompt waits for propagation. */
  readonly features: Float32Array | undefined;
}

/** Options with every default in place, and what follows from them. */
export interface ResolvedOptions extends Required<VideoOptions> {
  /** Distance up to which tracked frames are kept. */
  readonly reach: number;
}

const KEEP_FRAMES = 16;
const CACHE_FRAMES = 4;

/** Frames that tracking looks back. */
export function trackingReach(config: Sam2Config): number {
  const memories = config.numMaskmem * config.memoryTemporalStrideForEval;
  return Math.max(memories, config.maxObjPtrsInEncoder);
}

/** Fills in the defaults. @throws {UserError} for numbers below 0. */
export function resolveOptions(config: Sam2Config, options: VideoOptions): ResolvedOptions {
  const { fillHoleArea = 0, keepFrames = KEEP_FRAMES, cacheFrames = CACHE_FRAMES } = options;
  for (const [name, value] of Object.entries({ fillHoleArea, keepFrames })) {
    if (!(value >= 0)) throw new UserError(`${name} is ${value}; it must not be below 0.`);
  }
  if (!Number.isInteger(cacheFrames) || cacheFrames < 1) {
    throw new UserError(`cacheFrames is ${cacheFrames}; it must be a whole number from 1 on.`);
  }
  return {
    precision: options.precision ?? "f32",
    fillHoleArea,
    keepFrames,
    cacheFrames,
    nonOverlapMasks: options.nonOverlapMasks ?? false,
    clearNonCondMemAroundInput: options.clearNonCondMemAroundInput ?? false,
    addAllFramesToCorrectAsCond: options.addAllFramesToCorrectAsCond ?? false,
    bf16Memory: options.bf16Memory ?? false,
    reach: keepFrames + trackingReach(config),
  };
}

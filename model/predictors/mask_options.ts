/** Options and results of the automatic mask generator. */
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import type { Point } from "../sam2/image_prompts.ts";
import { type Box, type BoxXywh, layerGrids } from "./boxes.ts";
import type { CocoRle, UncompressedRle } from "./rle.ts";
import type { BinaryMask } from "./video_options.ts";

/** Form in which masks are returned. */
export type MaskOutput = "binary_mask" | "uncompressed_rle" | "coco_rle";

/** How masks are generated; the names and defaults are those of the official class. */
export interface AutomaticMaskOptions {
  /** Points along each side of the grid; 32 by default. Excludes `pointGrids`. */
  readonly pointsPerSide?: number;
  /** Points that the decoder takes at once; 64 by default. */
  readonly pointsPerBatch?: number;
  /** Masks are kept above this predicted overlap; 0.8 by default, 0 for all. */
  readonly predIouThresh?: number;
  /** Masks are kept from this stability on; 0.95 by default, 0 for all. */
  readonly stabilityScoreThresh?: number;
  /** Stability compares the areas at the threshold plus and minus this; 1 by default. */
  readonly stabilityScoreOffset?: number;
  /** Logits above it are inside; 0 by default. */
  readonly maskThreshold?: number;
  /** Of boxes in one crop that overlap by more than this, one is kept; 0.7 by default. */
  readonly boxNmsThresh?: number;
  /** Layers of crops; layer i has 2^i crops per side. 0 by default. */
  readonly cropNLayers?: number;
  /** The same as `boxNmsThresh` between crops, which prefers smaller crops; 0.7 by default. */
  readonly cropNmsThresh?: number;
  /** Overlap of the crops of the first layer, as a share of the short side; 512 / 1500 by default. */
  readonly cropOverlapRatio?: number;
  /** Layer i has fewer points per side by this factor to the power of i; 1 by default. */
  readonly cropNPointsDownscaleFactor?: number;
  /** For each layer the points to prompt, (x, y) in [0, 1]. Excludes `pointsPerSide`. */
  readonly pointGrids?: readonly (readonly Point[])[];
  /** Holes and islands of at most this many low-resolution pixels are removed; 0 by default. */
  readonly minMaskRegionArea?: number;
  /** Form of the masks; `binary_mask` by default. */
  readonly outputMode?: MaskOutput;
  /** Whether every mask is refined once, with its own logits as a prompt. */
  readonly useM2m?: boolean;
  /** Three masks per point (default) or one. */
  readonly multimaskOutput?: boolean;
  /** As in `ImagePredictorOptions`; `f32` by default. */
  readonly precision?: Precision;
}

/** A generated mask. */
export interface MaskRecord {
  /** The mask at the size of the image, in the form of `outputMode`. */
  readonly segmentation: BinaryMask | UncompressedRle | CocoRle;
  /** Pixels. */
  readonly area: number;
  /** Box around the mask. */
  readonly bbox: BoxXywh;
  /** The model's own prediction of the overlap with the true mask. */
  readonly predictedIou: number;
  /** The point that prompted the mask, in pixels of the image. */
  readonly pointCoords: readonly Point[];
  /** Area above the upper threshold by the area above the lower one. */
  readonly stabilityScore: number;
  /** The crop in which the mask was found. */
  readonly cropBox: BoxXywh;
}

/** Progress: what became of the masks of one batch of points. */
export interface MaskBatchReport {
  /** The crop, in pixels of the image. */
  readonly crop: Box;
  /** Points of the batch. */
  readonly points: number;
  /** Masks that the predicted overlap left. */
  readonly afterIou: number;
  /** Masks that stability left. */
  readonly afterStability: number;
  /** Masks that do not touch an inner edge of the crop. */
  readonly afterEdge: number;
}

/** Options with every default in place. */
export interface ResolvedMaskOptions
  extends Required<Omit<AutomaticMaskOptions, "pointsPerSide" | "pointGrids">> {
  /** Points of each layer. */
  readonly grids: readonly (readonly Point[])[];
}

const POINTS_PER_SIDE = 32;

/** Bounds of the options that may be any numbers in between. */
const RANGES = {
  predIouThresh: [-Infinity, Infinity],
  stabilityScoreThresh: [-Infinity, Infinity],
  stabilityScoreOffset: [0, Infinity],
  maskThreshold: [-Infinity, Infinity],
  boxNmsThresh: [-Infinity, Infinity],
  cropNmsThresh: [-Infinity, Infinity],
  cropOverlapRatio: [0, 1],
  cropNPointsDownscaleFactor: [1, Infinity],
  minMaskRegionArea: [0, Infinity],
} as const;

function within(least: number, most: number): string {
  if (least === -Infinity) return "";
  return most === Infinity ? ` from ${least} on` : ` from ${least} to ${most}`;
}

/** Fills in the defaults. @throws {UserError} for options that exclude each other or make no sense. */
export function resolveMaskOptions(options: AutomaticMaskOptions): ResolvedMaskOptions {
  const { pointsPerSide, pointGrids, ...rest } = options;
  if (pointsPerSide !== undefined && pointGrids) {
    throw new UserError("Give either pointsPerSide or pointGrids, not both.");
  }
  const resolved = {
    pointsPerBatch: 64,
    predIouThresh: 0.8,
    stabilityScoreThresh: 0.95,
    stabilityScoreOffset: 1,
    maskThreshold: 0,
    boxNmsThresh: 0.7,
    cropNLayers: 0,
    cropNmsThresh: 0.7,
    cropOverlapRatio: 512 / 1500,
    cropNPointsDownscaleFactor: 1,
    minMaskRegionArea: 0,
    outputMode: "binary_mask" as const,
    useM2m: false,
    multimaskOutput: true,
    precision: "f32" as const,
    ...rest,
  };
  const { pointsPerBatch, cropNLayers, cropNPointsDownscaleFactor } = resolved;
  const wholeNumbers: [string, number, number][] = [
    ["pointsPerSide", pointsPerSide ?? POINTS_PER_SIDE, 1],
    ["pointsPerBatch", pointsPerBatch, 1],
    ["cropNLayers", cropNLayers, 0],
  ];
  for (const [name, value, least] of wholeNumbers) {
    if (!Number.isInteger(value) || value < least) {
      throw new UserError(`${name} is ${value}; it must be a whole number from ${least} on.`);
    }
  }
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const value = resolved[name as keyof typeof RANGES];
    if (value >= least && value <= most) continue;
    throw new UserError(`${name} is ${value}; it must be a number${within(least, most)}.`);
  }
  const grids = pointGrids ??
    layerGrids(pointsPerSide ?? POINTS_PER_SIDE, cropNLayers, cropNPointsDownscaleFactor);
  if (grids.length <= cropNLayers || grids.some((grid) => grid.length === 0)) {
    throw new UserError(`Each of the ${cropNLayers + 1} crop layers needs points.`);
  }
  return { ...resolved, grids };
}

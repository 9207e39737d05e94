/** Segmentation of a whole volume: prompts, then slice by slice with the memory bank. */
import {
  add,
  autocast,
  gt,
  type Precision,
  readAll,
  reshape,
  softmax,
  tensor,
  where,
} from "../engine/mod.ts";
import { pcswOptions, type SssConfig } from "../model/sss/config.ts";
import type { LabelVoxels } from "../model/sss/pcsw/labelling.ts";
import { pcsw } from "../model/sss/pcsw/pcsw.ts";
import { tightBox } from "../model/sss/pcsw/prompts.ts";
import type { Box, Point } from "../model/sss/pcsw/volume.ts";
import type { ClassMasks, DrawnMemories, SssModel } from "../model/sss/sss_model.ts";
import { NO_OBJECT_LOGIT } from "../model/sam2/sam2_image.ts";
import type { LabelledVolume, Volume } from "./data/dataset.ts";
import { argmaxLabels, probabilitiesToGrid, resizeBilinear, resizeNearest } from "./data/resize.ts";
import type { MemoryBanks } from "./memory_banks.ts";
import { promptTokens } from "./prompting.ts";
import { planesOf, resizedSpacing } from "./slices.ts";
import { type EncodedVolume, encodeVolume, release, sliceFeatures } from "./volume_encoder.ts";

/** A segmented volume on its own grid. */
export interface Prediction {
  /** [S, H, W] */
  readonly labels: Uint8Array;
  /** [1 + C, S, H, W] */
  readonly probabilities: Float32Array;
}

/** Prompts of one class in one slice. */
interface ClassPrompt {
  readonly box: Box;
  readonly point: Point | null;
}

/** Prompts of a volume by slice, then class; null where there are none. */
type VolumePrompts = (ClassPrompt | null)[][];

/** What inference runs on. */
export interface InferenceParts {
  readonly model: SssModel;
  readonly config: SssConfig;
  readonly size: number;
  readonly precision: Precision;
  /** Memories that every slice attends to. */
  readonly draws: number;
  readonly label?: LabelVoxels | undefined;
  /** Empty banks of the right sizes. */
  readonly makeBanks: () => MemoryBanks;
}

async function searchedPrompts(
  { model, config, size, label }: InferenceParts,
  { coarse, embeddings: { length: slices } }: EncodedVolume,
  volume: Volume,
): Promise<VolumePrompts> {
  const shape = [model.classes + 1, slices, size, size] as const;
  const context = { spacing: resizedSpacing(volume, size), ...(label ? { label } : {}) };
  const found = await pcsw(coarse, shape, pcswOptions(config), context);
  return Array.from(
    { length: slices },
    (_, z) => found.map((own) => own.slices.find((prompt) => prompt.z === z) ?? null),
  );
}

function oraclePrompts(
  { label, shape }: LabelledVolume,
  classes: number,
  size: number,
): VolumePrompts {
  return planesOf(resizeNearest(label, shape, [size, size]), size).map((plane) =>
    Array.from({ length: classes }, (_, c) => {
      const box = tightBox(plane.map((v) => v === c + 1 ? 1 : 0), size);
      return box && { box, point: null };
    })
  );
}

function promptLeaves(prompts: readonly (ClassPrompt | null)[]) {
  const count = prompts.length;
  const table = (of: (p: ClassPrompt) => ArrayLike<number>, width: number) => {
    const data = new Float32Array(count * width);
    prompts.forEach((p, i) => p && data.set(of(p), i * width));
    return tensor(data, [count, width]);
  };
  const flags = (on: (p: ClassPrompt) => boolean) =>
    tensor(Float32Array.from(prompts, (p) => p && on(p) ? 1 : 0));
  return promptTokens({
    boxes: table((p) => p.box, 4),
    boxOn: flags(() => true),
    points: table((p) => p.point ?? [0, 0], 2),
    pointOn: flags((p) => p.point !== null),
  });
}

/** Channels-first maps [C, draws, memDim, tokens] as tokens [C, draws tokens, memDim]. */
function memoryTokens(maps: Float32Array, parts: InferenceParts): DrawnMemories {
  const { model, draws } = parts;
  const { memDim } = model.config;
  const tokens = maps.length / (model.classes * draws * memDim);
  const data = new Float32Array(maps.length);
  for (let m = 0; m < model.classes * draws; m++) {
    for (let d = 0; d < memDim; d++) {
      for (let t = 0; t < tokens; t++) {
        data[(m * tokens + t) * memDim + d] = maps[(m * memDim + d) * tokens + t];
      }
    }
  }
  return { tokens: tensor(data, [model.classes, draws * tokens, memDim]), count: draws };
}

/** Masks without the classes that the object score calls absent. */
function withoutAbsent(masks: ClassMasks): ClassMasks {
  const present = reshape(gt(masks.objectScores, 0), [...masks.objectScores.shape, 1, 1]);
  return { ...masks, logits: where(present, masks.logits, NO_OBJECT_LOGIT) };
}

/** Probabilities [1 + C, R, R] of one slice, and what it leaves in the banks. */
async function segmentSlice(
  parts: InferenceParts,
  encoded: EncodedVolume,
  z: number,
  prompts: readonly (ClassPrompt | null)[],
  banks: MemoryBanks,
): Promise<Float32Array> {
  const { model, draws } = parts;
  const features = sliceFeatures(encoded, z);
  const embedding = encoded.embeddings[z];
  const memories = banks.ready ? memoryTokens(banks.top(embedding, draws), parts) : undefined;
  const outputs = autocast(parts.precision, () => {
    const given = {
      points: promptLeaves(prompts),
      masks: parts.config.maskPrompt
        ? model.maskPrompts(model.coarse(features, parts.config))
        : undefined,
      refine: parts.config.refine,
    };
    const masks = model.decode(features, model.embed(features, memories), given);
    const gated = parts.config.presenceGate ? withoutAbsent(masks) : masks;
    const probability = softmax(model.classLogits(gated), 1);
    return [probability, model.remember(features, gated), add(masks.ious, 0)];
  });
  const [values, maps, ious] = await readAll(outputs) as Float32Array[];
  banks.offer(maps, embedding, ious);
  return values;
}

/**
 * Segments a volume. `pcsw` prompts come from the coarse head and read no label; `oracle` takes boxes
 * of the volume's own label.
 *
 * @throws {RangeError} where oracle prompts are asked for without a label.
 */
export async function segmentVolume(
  parts: InferenceParts,
  volume: Volume | LabelledVolume,
  mode: "pcsw" | "oracle",
): Promise<Prediction> {
  const { model, size, precision } = parts;
  const planes = planesOf(resizeBilinear(volume.image, volume.shape, [size, size]), size);
  if (mode === "oracle" && !("label" in volume)) {
    throw new RangeError(`${volume.id} has no label to take oracle prompts from.`);
  }
  const options = { ...parts.config, precision, keep: true };
  const encoded = await encodeVolume(model, planes, size, options);
  const prompts = mode === "oracle"
    ? oraclePrompts(volume as LabelledVolume, model.classes, size)
    : await searchedPrompts(parts, encoded, volume);
  const banks = parts.makeBanks();
  const channels = model.classes + 1;
  const plane = size * size;
  const all = new Float32Array(channels * planes.length * plane);
  for (const z of planes.keys()) {
    const values = await segmentSlice(parts, encoded, z, prompts[z], banks);
    for (let c = 0; c < channels; c++) {
      all.set(values.subarray(c * plane, (c + 1) * plane), (c * planes.length + z) * plane);
    }
  }
  await release(encoded);
  const [, height, width] = volume.shape;
  const grid = probabilitiesToGrid(all, channels, [planes.length, size, size], [height, width]);
  return { labels: argmaxLabels(grid, channels), probabilities: grid };
}

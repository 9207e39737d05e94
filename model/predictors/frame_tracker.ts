/** The GPU's part of the video predictor: one frame at a time, its objects in batches. */
import {
  autocast,
  cat,
  dispose,
  evaluate,
  indexSelect,
  interpolate,
  leaf,
  submit,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import { promptLogits } from "../sam2/image_predictor.ts";
import type { SelectionQuery } from "../sam2/memory_selection.ts";
import type { PointPrompt } from "../sam2/prompt_encoder.ts";
import { readMasks } from "../sam2/read_masks.ts";
import { type FrameOutput, OVERLAP_LOGIT, type Sam2 } from "../sam2/sam2.ts";
import { type ImageFeatures, NO_OBJECT_LOGIT } from "../sam2/sam2_image.ts";
import { roundToBfloat16 } from "./bfloat16.ts";
import type { FrameReader } from "./frame_reader.ts";
import { groupMemories } from "./memory_groups.ts";
import { inBatches } from "./object_batches.ts";
import { type Clicks, type ObjectOutput, type ObjectState, releaseOutput } from "./object_state.ts";
import { replaceSmallRegions } from "./regions.ts";
import { keepRows, type Leftovers, type Row, stackRows } from "./shared_rows.ts";
import type { ResolvedOptions } from "./video_options.ts";

/** Logit that pixels of a small hole get. */
const FILLED_LOGIT = 0.1;

/** One object's prompt on one frame: clicks or a mask. */
export interface FramePrompt {
  /** Clicks. */
  readonly clicks?: Clicks | undefined;
  /** A mask [1, 1, R, R] of zeros and ones. */
  readonly mask?: Tensor | undefined;
  /** Whether the frame was never tracked: then no memory is used. */
  readonly isInitCondFrame: boolean;
  /** Whether time ran backwards when the frame was tracked. */
  readonly reverse: boolean;
  /** The result that clicks correct. */
  readonly previous?: ObjectOutput | undefined;
}

const NO_OUTPUTS = { conditioning: new Map(), tracked: new Map() } as const;

function pointTensors({ coords, labels }: Clicks): PointPrompt {
  const count = labels.length;
  return { coords: tensor(coords, [1, count, 2]), labels: tensor(labels, [1, count]) };
}

/**
 * Leaves each pixel of [objects, height, width] to the object with the largest logit, the first of equal
 * ones; elsewhere logits are at most -10. On the host, since all objects together may exceed what the
 * adapter can bind.
 */
export function keepObjectsApart(logits: Float32Array, objects: number): void {
  const plane = logits.length / objects;
  for (let pixel = 0; pixel < plane; pixel++) {
    let owner = pixel;
    for (let i = pixel; i < logits.length; i += plane) if (logits[i] > logits[owner]) owner = i;
    for (let i = pixel; i < logits.length; i += plane) {
      if (i !== owner) logits[i] = Math.min(logits[i], OVERLAP_LOGIT);
    }
  }
}

/** Runs the model on frames for objects. */
export class FrameTracker {
  /** Features in GPU memory by frame; the one used longest ago comes first. */
  private readonly cached = new Map<number, ImageFeatures>();

  /** A tracker that gives unused GPU memory to `leftovers`. */
  constructor(
    private readonly model: Sam2,
    private readonly reader: FrameReader,
    private readonly options: ResolvedOptions,
    private readonly leftovers: Leftovers,
  ) {}

  /** Runs one object on a frame with its prompt. Its memory is made later. */
  async prompt(frame: number, object: ObjectState, prompt: FramePrompt): Promise<ObjectOutput> {
    const { clicks, mask, isInitCondFrame, reverse, previous } = prompt;
    const features = await this.features(frame);
    const query = this.query(frame, reverse);
    const looksBack = !isInitCondFrame &&
      !(mask && this.model.config.useMaskInputAsOutputWithoutSam);
    const earlier = clicks && previous && stackRows([previous.mask]);
    const output = this.build(() =>
      this.model.trackStep({
        frame,
        numFrames: query.numFrames,
        isInitCondFrame,
        features,
        embedding: looksBack ? this.embedding(features, [object], query) : undefined,
        points: clicks && pointTensors(clicks),
        masks: mask,
        prevSamMaskLogits: earlier && promptLogits(earlier),
        outputs: NO_OUTPUTS,
        runMemEncoder: false,
      })
    );
    return (await this.keep(output))[0];
  }

  /** Tracks objects into a frame, and makes its memories. */
  async track(
    frame: number,
    objects: readonly ObjectState[],
    reverse: boolean,
  ): Promise<ObjectOutput[]> {
    const features = await this.features(frame);
    const query = this.query(frame, reverse);
    const track = (batch: readonly ObjectState[]) => {
      const step = () =>
        this.model.trackStep({
          frame,
          numFrames: query.numFrames,
          isInitCondFrame: false,
          features,
          embedding: this.embedding(features, batch, query),
          outputs: NO_OUTPUTS,
          separateObjects: true,
        });
      return this.keep(this.build(step));
    };
    return await this.ofBatches(objects, track, releaseOutput);
  }

  /** Makes the memories of prompted objects on a frame. */
  async encodeMemories(frame: number, outputs: readonly ObjectOutput[]): Promise<Row[]> {
    const { imageSize } = this.model.config;
    const { levels } = await this.features(frame);
    const encode = async (batch: readonly ObjectOutput[]) => {
      const masks = interpolate(stackRows(batch.map(({ mask }) => mask)), {
        size: [imageSize, imageSize],
        mode: "bilinear",
      });
      const scores = stackRows(batch.map(({ score }) => score));
      const { features } = this.build(() =>
        this.model.encodeNewMemory(levels[levels.length - 1], masks, scores, {
          isMaskFromPts: true,
          separateObjects: true,
        })
      );
      return (await keepRows([this.stored(features)], this.leftovers))[0];
    };
    return await this.ofBatches(outputs, encode, ({ rows }) => rows.release());
  }

  /** Logits at the size of the video [N, H, W], and scores [N], of objects with or without output. */
  async read(
    outputs: readonly (ObjectOutput | undefined)[],
  ): Promise<{ logits: Float32Array; scores: Float32Array }> {
    const { height, width } = this.reader.source;
    const plane = height * width;
    const logits = new Float32Array(outputs.length * plane).fill(NO_OBJECT_LOGIT);
    const scores = new Float32Array(outputs.length).fill(NO_OBJECT_LOGIT);
    const known = outputs.flatMap((output, place) => output ? [{ output, place }] : []);
    if (known.length > 0) {
      const masks = stackRows(known.map(({ output }) => output.mask));
      const score = stackRows(known.map(({ output }) => output.score));
      const found = await readMasks(masks, [height, width], [score]);
      for (const [i, { place }] of known.entries()) {
        logits.set(found.logits.subarray(i * plane, (i + 1) * plane), place * plane);
        scores[place] = found.others[0][i];
      }
    }
    if (this.options.nonOverlapMasks) keepObjectsApart(logits, outputs.length);
    return { logits, scores };
  }

  /** Starts reading a frame that will be asked for soon, where its features are not there yet. */
  prepare(frame: number): void {
    if (!this.cached.has(frame)) this.reader.prepare(frame);
  }

  /** Frees the features of all frames. */
  async clear(): Promise<void> {
    await this.evict(0);
  }

  /** Features of a frame; those of the latest few stay in GPU memory. */
  private async features(frame: number): Promise<ImageFeatures> {
    const found = this.cached.get(frame);
    if (found) {
      this.cached.delete(frame);
      this.cached.set(frame, found);
      return found;
    }
    const input = await this.reader.input(frame);
    await this.evict(this.options.cacheFrames - 1);
    const { levels, positions } = this.build(() => this.model.forwardImage(input));
    await evaluate(levels);
    // Fresh leaves, so that the graph of the encoder and the frame's pixels can go.
    const kept = levels.map((level) => leaf(level.storage!, level.shape, level.dtype));
    const features = { levels: kept, positions };
    this.cached.set(frame, features);
    return features;
  }

  /** Frees features until those of `limit` frames are left. */
  private async evict(limit: number): Promise<void> {
    for (const [frame, { levels }] of this.cached) {
      if (this.cached.size <= limit) return;
      this.cached.delete(frame);
      await dispose(levels);
    }
  }

  /** Computes batches one after the other. Where one fails, the results of the others are released. */
  private async ofBatches<T, R>(
    objects: readonly T[],
    compute: (batch: readonly T[]) => Promise<R[]>,
    release: (result: R) => void,
  ): Promise<R[]> {
    const results: R[] = [];
    try {
      for (const batch of await inBatches(objects, this.model.config)) {
        results.push(...await compute(batch));
      }
    } catch (error) {
      results.forEach(release);
      throw error;
    }
    return results;
  }

  /** Builds a part of the graph in the precision that was asked for. */
  private build<T>(part: () => T): T {
    return autocast(this.options.precision, part);
  }

  private query(frame: number, reverse: boolean): SelectionQuery {
    return { frame, numFrames: this.reader.source.count, reverse, training: false };
  }

  /** The frame's embedding as each object sees it, in the order of the objects. */
  private embedding(
    features: ImageFeatures,
    objects: readonly ObjectState[],
    query: SelectionQuery,
  ): Tensor {
    const groups = groupMemories(objects, query, this.model.config);
    const parts = groups.map(({ bank }) => this.model.conditionOnMemory(features, bank));
    if (parts.length === 1) return parts[0];
    const place = new Uint32Array(objects.length);
    groups.flatMap(({ members }) => members).forEach((object, row) => place[object] = row);
    return indexSelect(cat(parts, 0), 0, tensor(place));
  }

  /** Memories as they are stored. */
  private stored(features: Tensor): Tensor {
    return this.options.bf16Memory ? roundToBfloat16(features) : features;
  }

  /** Computes what later frames need of an output. Holes are filled after the memory was made. */
  private async keep(output: FrameOutput): Promise<ObjectOutput[]> {
    const rest = [output.objPtr, output.objectScoreLogits];
    if (output.memory) rest.push(this.stored(output.memory.features));
    let masks = output.lowResMasks;
    if (this.options.fillHoleArea > 0) {
      const [, , height, width] = masks.shape;
      const [logits] = await (await submit({ read: [masks], keep: rest }))() as Float32Array[];
      const rule = {
        inside: (logit: number) => logit <= 0,
        maxArea: this.options.fillHoleArea,
        value: FILLED_LOGIT,
      };
      masks = tensor(replaceSmallRegions(logits, height, width, [rule]), masks.shape);
    }
    const [mask, pointer, score, memory] = await keepRows([masks, ...rest], this.leftovers);
    return mask.map((row, i) => ({
      mask: row,
      pointer: pointer[i],
      score: score[i],
      memory: memory?.[i],
    }));
  }
}

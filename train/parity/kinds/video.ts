/** Scripts of calls on the video predictor. */
import { interpolate, read, type Tensor, tensor } from "../../../engine/mod.ts";
import { UserError } from "../../../engine/errors.ts";
import { frameInput } from "../../../model/predictors/frame_reader.ts";
import { arrayFrames } from "../../../model/predictors/frame_source.ts";
import { resizeMaskPrompt } from "../../../model/predictors/prompts.ts";
import type { FrameMasks, VideoOptions } from "../../../model/predictors/video_options.ts";
import { VideoPredictor } from "../../../model/predictors/video_predictor.ts";
import type { Point } from "../../../model/sam2/image_prompts.ts";
import type { RgbImage } from "../../../model/sam2/image_transform.ts";
import type { Sam2 } from "../../../model/sam2/sam2.ts";
import { variantRules } from "../bfloat16.ts";
import type { Comparison } from "../compare.ts";
import { type Fixture, fixtureInput } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareExactly, compareOutputs } from "../kind.ts";
import { applyOptions, withModel } from "../model.ts";

/** One call of a script; which fields it has depends on `op`. */
interface Call {
  readonly op: string;
  readonly frame: number;
  readonly obj: number;
  readonly points?: readonly Point[] | null;
  readonly labels?: readonly number[] | null;
  readonly box?: readonly [number, number, number, number] | null;
  readonly clear_old_points?: boolean;
  readonly normalize_coords?: boolean;
  readonly mask?: string;
  readonly start?: number | null;
  readonly max_frames?: number | null;
  readonly reverse?: boolean;
  readonly strict?: boolean;
  readonly raises?: string;
  readonly result: Readonly<Record<string, unknown>>;
}

type MemoryFrames = Readonly<Record<string, { cond: number[]; non_cond: number[] }>>;

/** One run of a script. */
class Script {
  readonly produced = new Map<string, HostTensor>();
  readonly comparisons: Comparison[] = [];

  constructor(
    private readonly fixture: Fixture,
    private readonly predictor: VideoPredictor,
    private readonly model: Sam2,
    private readonly variant: string,
  ) {}

  async run(calls: readonly Call[]): Promise<void> {
    for (const [i, call] of calls.entries()) {
      const tag = `${this.variant}/call${String(i).padStart(2, "0")}`;
      let result: Record<string, unknown>;
      try {
        result = await this.call(call, tag);
      } catch (error) {
        if (!(error instanceof UserError) || call.raises === undefined) throw error;
        result = { error: call.result.error };
      }
      result.obj_ids = this.predictor.objectIds;
      const expected = Object.entries(call.result).map(([key]) => [key, result[key]]);
      const actual = Object.fromEntries(expected);
      this.comparisons.push(compareExactly(`${tag}.result`, call.result, actual));
    }
  }

  private async call(call: Call, tag: string): Promise<Record<string, unknown>> {
    const { predictor } = this;
    const { frame, obj } = call;
    switch (call.op) {
      case "add_new_points_or_box":
        await this.prompted(tag, obj, await predictor.addPointsOrBox(frame, obj, promptOf(call)));
        return { frame };
      case "add_new_mask": {
        const { shape: [height, width], data } = this.fixture.stored.get(call.mask!)!;
        const mask = { data: data as Uint8Array, width, height };
        const resized = resizeMaskPrompt(mask, this.model.config.imageSize);
        await this.tensor(`${tag}.mask_input_resized`, resized, resized.shape.slice(1));
        await this.prompted(tag, obj, await predictor.addMask(frame, obj, mask));
        return { frame };
      }
      case "propagate":
        return { frames: await this.propagate(call, tag) };
      case "clear_all_prompts_in_frame":
        await this.masks(tag, await predictor.clearPromptsInFrame(frame, obj));
        return { frame };
      case "remove_object": {
        const { updated } = await predictor.removeObject(obj, { strict: call.strict ?? false });
        for (const masks of updated) await this.masks(`${tag}.frame${masks.frame}`, masks);
        return { updated_frames: updated.map(({ frame }) => frame) };
      }
      case "reset_state":
        await predictor.reset();
        return {};
      default:
        throw new Error(`Scripts with the call "${call.op}" are not supported.`);
    }
  }

  private async propagate(call: Call, tag: string): Promise<number[]> {
    const { start, max_frames, reverse = false } = call;
    const options = { start: start ?? undefined, maxFrames: max_frames ?? undefined, reverse };
    const frames: number[] = [];
    for await (const masks of this.predictor.propagate(options)) {
      const { frame } = masks;
      frames.push(frame);
      await this.masks(`${tag}.frame${frame}`, masks);
      for (const id of masks.objectIds) await this.state(`${tag}.frame${frame}`, id, frame);
    }
    return frames;
  }

  private async prompted(tag: string, id: number, masks: FrameMasks): Promise<void> {
    await this.masks(tag, masks);
    await this.state(tag, id, masks.frame);
  }

  /** Masks as they were returned, and before objects were kept apart. */
  private async masks(tag: string, masks: FrameMasks): Promise<void> {
    const { frame, objectIds, width, height, logits } = masks;
    const plane = width * height;
    const side = this.model.config.imageSize / 4;
    for (const [i, id] of objectIds.entries()) {
      const data = logits.subarray(i * plane, (i + 1) * plane);
      this.value(`${tag}.obj${id}.video_res_masks`, data, [1, height, width]);
      const memory = await this.predictor.memoryOf(id, frame);
      if (!memory) continue;
      const low = tensor(memory.lowResLogits, [1, 1, side, side]);
      const own = interpolate(low, { size: [height, width], mode: "bilinear" });
      await this.tensor(`${tag}.obj${id}.video_res_before_non_overlap`, own, [1, height, width]);
    }
  }

  /** What is remembered of an object. */
  private async state(tag: string, id: number, frame: number): Promise<void> {
    const memory = await this.predictor.memoryOf(id, frame);
    if (!memory) return;
    const { lowResLogits, objectScore, pointer, features } = memory;
    const { imageSize, memDim } = this.model.config;
    const name = (output: string) => `${tag}.obj${id}.${output}`;
    this.value(name("pred_masks"), lowResLogits, [1, imageSize / 4, imageSize / 4]);
    this.value(name("object_score_logits"), Float32Array.of(objectScore), [1]);
    this.value(name("obj_ptr"), pointer, [pointer.length]);
    if (features) {
      this.value(name("maskmem_features"), features, [memDim, imageSize / 16, imageSize / 16]);
    }
  }

  async tensor(name: string, t: Tensor, shape: readonly number[]): Promise<void> {
    if (this.fixture.manifest.outputs?.[name]) {
      this.value(name, await read(t) as Float32Array, shape);
    }
  }

  private value(name: string, data: Float32Array, shape: readonly number[]): void {
    this.produced.set(name, { shape, data });
  }

  /** Which frames are left in memory at the end. */
  compareMemoryFrames(golden: MemoryFrames): void {
    const sorted = (frames: readonly number[]) => [...frames].sort((a, b) => a - b);
    const ids = this.predictor.objectIds.map(String).sort();
    const actual = Object.fromEntries(ids.map((id) => {
      const { conditioning, tracked } = this.predictor.memoryFrames(Number(id));
      return [id, { cond: sorted(conditioning), non_cond: sorted(tracked) }];
    }));
    const expected = Object.fromEntries(
      Object.entries(golden).sort(([a], [b]) => a < b ? -1 : 1)
        .map(([id, { cond, non_cond }]) => [id, { cond, non_cond }]),
    );
    this.comparisons.push(
      compareExactly(`${this.variant}/final_memory_frames`, expected, actual),
    );
  }
}

function promptOf(call: Call) {
  return {
    points: call.points ?? [],
    labels: call.labels ?? [],
    ...(call.box && { box: call.box }),
    clearOldPoints: call.clear_old_points ?? true,
    normalized: call.normalize_coords === false,
  };
}

function framesOf(fixture: Fixture): RgbImage[] {
  const { shape: [count, height, width], data } = fixtureInput(fixture, "frames");
  const size = height * width * 3;
  return Array.from({ length: count }, (_, t) => ({
    data: (data as Uint8Array).subarray(t * size, (t + 1) * size),
    width,
    height,
  }));
}

/** Options of the official constructor: some are of the predictor, the others of the model. */
function splitArguments(fixture: Fixture) {
  const defaults: VideoOptions = {
    fillHoleArea: 0,
    nonOverlapMasks: false,
    clearNonCondMemAroundInput: false,
    addAllFramesToCorrectAsCond: false,
  };
  const all = Object.entries((fixture.manifest.model_args ?? {}) as Record<string, unknown>);
  const ofPredictor = (name: string) =>
    Object.keys(defaults).some((key) => key.toLowerCase() === name.replaceAll("_", ""));
  return {
    options: applyOptions(defaults, Object.fromEntries(all.filter(([key]) => ofPredictor(key)))),
    modelArguments: Object.fromEntries(all.filter(([key]) => !ofPredictor(key))),
  };
}

/** Runs a fixture of kind `video`, with each way of storing memories. */
export function runVideo(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ reconfigured }) => {
    const { options, modelArguments } = splitArguments(fixture);
    const model = reconfigured((config) => applyOptions(config, modelArguments));
    const frames = framesOf(fixture);
    const produced = new Map<string, HostTensor>();
    const comparisons: Comparison[] = [];
    for (const variant of fixture.manifest.variants as string[]) {
      const predictor = new VideoPredictor(model, arrayFrames(frames), {
        ...options,
        bf16Memory: variant === "bf16",
        keepFrames: Infinity,
      });
      const script = new Script(fixture, predictor, model, variant);
      for (const [t, frame] of frames.entries()) {
        const input = frameInput(frame, model.config.imageSize);
        await script.tensor(`${variant}/image.frame${t}`, input, input.shape.slice(1));
      }
      await script.run(fixture.manifest.calls as Call[]);
      script.compareMemoryFrames(fixture.manifest.final_memory_frames as MemoryFrames);
      for (const [name, value] of script.produced) produced.set(name, value);
      comparisons.push(...script.comparisons);
      await predictor.close();
    }
    return [...comparisons, ...compareOutputs(fixture, produced, variantRules(fixture))];
  });
}

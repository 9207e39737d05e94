/** Tracking of objects through a video, with prompts on any frame at any time. */
import { readAll } from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import type { Sam2 } from "../sam2/sam2.ts";
import { FrameReader } from "./frame_reader.ts";
import type { FrameSource } from "./frame_source.ts";
import { type FramePrompt, FrameTracker } from "./frame_tracker.ts";
import { type ObjectOutput, ObjectState, type OutputKind } from "./object_state.ts";
import { clicksOf, joinClicks, resizeMaskPrompt } from "./prompts.ts";
import { Leftovers, stackRows } from "./shared_rows.ts";
import {
  type BinaryMask,
  type FrameMasks,
  type ObjectMemory,
  type PointsPrompt,
  type PropagateOptions,
  type ResolvedOptions,
  resolveOptions,
  type VideoOptions,
} from "./video_options.ts";

/** What removing an object changed. */
export interface RemovedObject {
  /** The objects that remain. */
  readonly objectIds: readonly number[];
  /** The masks that remain on the frames where the object had been prompted. */
  readonly updated: readonly FrameMasks[];
}

/**
 * SAM-2's video predictor: prompts on any frame for any object, tracked through the video in both
 * directions. Calls run one after the other, also where they are not awaited.
 *
 * @example Tracking an object from a click
 * ```ts
 * import { arrayFrames, CONFIGS, FlatParameters, Sam2, VideoPredictor } from "sam2";
 *
 * const model = new Sam2({ ...CONFIGS.nano, imageSize: 64 });
 * await FlatParameters.create(model); // random weights; loadWeights() puts others in their place
 * const frame = { data: new Uint8Array(40 * 30 * 3), width: 40, height: 30 };
 * const predictor = new VideoPredictor(model, arrayFrames([frame, frame, frame]));
 * await predictor.addPointsOrBox(0, 1, { points: [[20, 15]], labels: [1] });
 * for await (const { frame, logits } of predictor.propagate()) {
 *   console.log(frame, logits.filter((logit) => logit > 0).length, "pixels");
 * }
 * await predictor.close();
 * ```
 */
export class VideoPredictor {
  private readonly options: ResolvedOptions;
  private readonly reader: FrameReader;
  private readonly tracker: FrameTracker;
  /** Unused GPU memory, freed at the end of each call. */
  protected readonly leftovers = new Leftovers();
  private readonly turns = new Turns();
  /** What is known of each object, by its number. */
  protected readonly objects = new Map<number, ObjectState>();

  /**
   * A predictor without prompts; no frame is read yet.
   *
   * @throws {UserError} for a video without frames, a model without memory, and unusable options.
   */
  constructor(private readonly model: Sam2, frames: FrameSource, options: VideoOptions = {}) {
    if (model.config.numMaskmem === 0) {
      throw new UserError("This model has no memory (numMaskmem is 0), so it cannot track.");
    }
    this.options = resolveOptions(model.config, options);
    this.reader = new FrameReader(frames, model.config.imageSize);
    this.tracker = new FrameTracker(model, this.reader, this.options, this.leftovers);
  }

  /** All objects, in the order in which they were added. */
  get objectIds(): number[] {
    return [...this.objects.keys()];
  }

  /**
   * Adds clicks or a box to a frame for an object, which is made where it is new. On a frame that was
   * tracked before, the prompt corrects the result.
   *
   * @returns masks of all objects in that frame.
   * @throws {UserError} for an absent frame and for unusable prompts.
   */
  async addPointsOrBox(
    frame: number,
    objectId: number,
    prompt: PointsPrompt,
  ): Promise<FrameMasks> {
    this.reader.check(frame);
    const { imageSize } = this.model.config;
    const { width, height } = this.reader.source;
    // Before the call has its turn: who has made it may change what it was given.
    const added = clicksOf(prompt, { width, height, imageSize });
    const joined = prompt.clearOldPoints === false;
    return await this.turn(async () => {
      const object = this.object(objectId);
      const earlier = joined ? object.clicks.get(frame) : undefined;
      const clicks = joinClicks(earlier, added);
      const kind = this.kindOf(object, frame);
      const previous = object.at(frame, kind);
      const output = await this.tracker.prompt(frame, object, {
        ...this.placeOf(object, frame),
        clicks,
        previous,
      });
      object.clicks.set(frame, clicks);
      object.maskFrames.delete(frame);
      this.objects.set(objectId, object);
      object.store(object.pending, kind, frame, output);
      return await this.masksAt(frame, kind);
    });
  }

  /**
   * Gives the mask of an object in a frame, in place of earlier prompts there.
   *
   * @param mask of any size; it covers the whole frame.
   * @returns masks of all objects in that frame.
   * @throws {UserError} for an absent frame and for data that do not fit the mask's size.
   */
  async addMask(frame: number, objectId: number, mask: BinaryMask): Promise<FrameMasks> {
    this.reader.check(frame);
    const resized = resizeMaskPrompt(mask, this.model.config.imageSize);
    return await this.turn(async () => {
      const object = this.object(objectId);
      const kind = this.kindOf(object, frame);
      const place = this.placeOf(object, frame);
      const output = await this.tracker.prompt(frame, object, { ...place, mask: resized });
      object.maskFrames.add(frame);
      object.clicks.delete(frame);
      this.objects.set(objectId, object);
      object.store(object.pending, kind, frame, output);
      return await this.masksAt(frame, kind);
    });
  }

  /**
   * Tracks all objects through the video. Leave the loop to stop; prompts that are added between two
   * frames count from the next call on.
   *
   * @throws {UserError} where there is no object, or one without a prompt.
   */
  async *propagate(options: PropagateOptions = {}): AsyncGenerator<FrameMasks, void, void> {
    const { reverse = false } = options;
    const { objects, frames } = await this.turn(async () => {
      await this.preflight();
      return { objects: [...this.objects.values()], frames: this.processingOrder(options) };
    });
    for (const [i, frame] of frames.entries()) {
      const next: number | undefined = frames[i + 1];
      const masks = await this.turn(() => this.step(frame, objects, reverse, next));
      if (!masks) return;
      yield masks;
    }
  }

  /**
   * Takes all prompts of an object in a frame back. The frame's result remains, but later frames take
   * it for a tracked one.
   *
   * @returns masks of all objects in that frame.
   * @throws {UserError} for an absent frame or object.
   */
  clearPromptsInFrame(frame: number, objectId: number): Promise<FrameMasks> {
    return this.turn(async () => {
      this.reader.check(frame);
      this.existing(objectId).clearPrompts(frame);
      return await this.masksAt(frame, this.pendingKind(frame));
    });
  }

  /**
   * Removes an object and all that is known of it.
   *
   * @param strict whether it is an error where there is no such object.
   */
  removeObject(
    objectId: number,
    { strict = false }: { strict?: boolean } = {},
  ): Promise<RemovedObject> {
    return this.turn(async () => {
      const object = strict ? this.existing(objectId) : this.objects.get(objectId);
      if (!object) return { objectIds: this.objectIds, updated: [] };
      const frames = object.promptedFrames();
      object.clear();
      this.objects.delete(objectId);
      const updated: FrameMasks[] = [];
      for (const frame of this.objects.size > 0 ? frames : []) {
        updated.push(await this.masksAt(frame, this.pendingKind(frame)));
      }
      return { objectIds: this.objectIds, updated };
    });
  }

  /** Removes all objects and all that was tracked. */
  reset(): Promise<void> {
    return this.turn(() => {
      for (const object of this.objects.values()) object.clear();
      this.objects.clear();
      return Promise.resolve();
    });
  }

  /** Frees all GPU memory; the predictor may be used again afterwards. */
  async close(): Promise<void> {
    await this.reset();
    await this.turn(() => this.tracker.clear());
  }

  /** Frames that later ones may remember of an object: prompted ones, and tracked ones. */
  memoryFrames(objectId: number): { conditioning: number[]; tracked: number[] } {
    const { conditioning, tracked } = this.existing(objectId).outputs;
    return { conditioning: [...conditioning.keys()], tracked: [...tracked.keys()] };
  }

  /** What is remembered of an object at a frame; `undefined` where nothing is. */
  memoryOf(objectId: number, frame: number): Promise<ObjectMemory | undefined> {
    return this.turn(async () => {
      const output = this.existing(objectId).at(frame);
      if (!output) return undefined;
      const { mask, score, pointer, memory } = output;
      const rows = [mask, score, pointer, ...(memory ? [memory] : [])].map((row) =>
        stackRows([row])
      );
      const [lowResLogits, [objectScore], found, features] = await readAll(rows) as Float32Array[];
      return { lowResLogits, objectScore, pointer: found, features };
    });
  }

  /** Runs work in turn, then frees what it left over. */
  private turn<T>(work: () => Promise<T>): Promise<T> {
    return this.turns.take(async () => {
      try {
        return await work();
      } finally {
        await this.leftovers.free();
      }
    });
  }

  /** The object, or a new one that is not listed yet. */
  private object(id: number): ObjectState {
    return this.objects.get(id) ?? new ObjectState(id);
  }

  /** An object that is listed. @throws {UserError} where there is none. */
  private existing(id: number): ObjectState {
    const object = this.objects.get(id);
    if (object) return object;
    const known = this.objectIds.join(", ") || "none";
    throw new UserError(`There is no object ${id}; the objects are: ${known}.`);
  }

  /** Where a prompt's result belongs. */
  private kindOf(object: ObjectState, frame: number): OutputKind {
    const conditioning = !object.direction.has(frame) || this.options.addAllFramesToCorrectAsCond;
    return conditioning ? "conditioning" : "tracked";
  }

  /** How a prompt on a frame is to be understood: anew, or as a correction. */
  private placeOf(
    object: ObjectState,
    frame: number,
  ): Pick<FramePrompt, "isInitCondFrame" | "reverse"> {
    const direction = object.direction.get(frame);
    return { isInitCondFrame: direction === undefined, reverse: direction ?? false };
  }

  /** The kind of pending results that count where several objects may have some. */
  private pendingKind(frame: number): OutputKind {
    const some = [...this.objects.values()].some((o) => o.pending.conditioning.has(frame));
    return some ? "conditioning" : "tracked";
  }

  /** Masks of all objects in a frame, pending ones of `kind` first. */
  private async masksAt(frame: number, kind?: OutputKind): Promise<FrameMasks> {
    const objects = [...this.objects.values()];
    return await this.masksOf(frame, objects, objects.map((object) => object.at(frame, kind)));
  }

  /** Masks of some objects in a frame. */
  private async masksOf(
    frame: number,
    objects: readonly ObjectState[],
    outputs: readonly (ObjectOutput | undefined)[],
  ): Promise<FrameMasks> {
    const { width, height } = this.reader.source;
    const { logits, scores } = await this.tracker.read(outputs);
    const objectIds = objects.map(({ id }) => id);
    return { frame, objectIds, width, height, logits, objectScores: scores };
  }

  /** Makes the memories of prompted frames, and lets later frames remember them. */
  private async preflight(): Promise<void> {
    if (this.objects.size === 0) {
      throw new UserError("There is nothing to track: give prompts for an object first.");
    }
    await this.encodePending();
    for (const object of this.objects.values()) {
      object.merge((frame) => this.clearAround(object, frame));
      if (object.outputs.conditioning.size === 0) {
        throw new UserError(
          `Object ${object.id} has no prompted frame left: give it a prompt, or remove it.`,
        );
      }
      object.dropDoubles();
    }
  }

  /** Frame by frame, for all objects that are prompted there. */
  private async encodePending(): Promise<void> {
    const missing = new Map<number, { object: ObjectState; kind: OutputKind }[]>();
    for (const object of this.objects.values()) {
      for (const kind of ["tracked", "conditioning"] as const) {
        for (const [frame, { memory }] of object.pending[kind]) {
          if (memory) continue;
          missing.set(frame, [...(missing.get(frame) ?? []), { object, kind }]);
        }
      }
    }
    for (const [frame, list] of missing) {
      const outputs = list.map(({ object, kind }) => object.pending[kind].get(frame)!);
      const memories = await this.tracker.encodeMemories(frame, outputs);
      list.forEach(({ object, kind }, i) => object.addMemory(kind, frame, memories[i]));
    }
  }

  /** Forgets the tracked frames around a prompted one, where that is asked for. */
  private clearAround(object: ObjectState, frame: number): void {
    if (!this.options.clearNonCondMemAroundInput) return;
    const { memoryTemporalStrideForEval, numMaskmem } = this.model.config;
    const reach = memoryTemporalStrideForEval * numMaskmem;
    for (let t = frame - reach; t <= frame + reach; t++) object.dropTracked(t);
  }

  /** Frames to track, in order. Backwards from frame 0 there are none, as in the official predictor. */
  private processingOrder({ start, maxFrames, reverse = false }: PropagateOptions): number[] {
    const { count } = this.reader.source;
    if (maxFrames !== undefined && !(maxFrames >= 0)) {
      throw new UserError(`maxFrames is ${maxFrames}; it must not be below 0.`);
    }
    const prompted = [...this.objects.values()].flatMap((o) => [...o.outputs.conditioning.keys()]);
    const first = start ?? Math.min(...prompted);
    this.reader.check(first);
    const steps = maxFrames ?? count;
    if (reverse && first === 0) return [];
    const last = reverse ? Math.max(first - steps, 0) : Math.min(first + steps, count - 1);
    const sign = reverse ? -1 : 1;
    return Array.from({ length: Math.abs(last - first) + 1 }, (_, i) => first + sign * i);
  }

  /** One frame of a propagation; nothing where all of its objects have been removed. */
  private async step(
    frame: number,
    started: readonly ObjectState[],
    reverse: boolean,
    next: number | undefined,
  ): Promise<FrameMasks | undefined> {
    const objects = started.filter((object) => this.objects.get(object.id) === object);
    if (objects.length === 0) return undefined;
    const prompted = objects.filter(({ outputs }) => outputs.conditioning.has(frame));
    const others = objects.filter((object) => !prompted.includes(object));
    for (const object of prompted) this.clearAround(object, frame);
    if (others.length > 0) {
      const outputs = await this.tracker.track(frame, others, reverse);
      others.forEach((object, i) => object.store(object.outputs, "tracked", frame, outputs[i]));
    }
    for (const object of objects) object.direction.set(frame, reverse);
    if (next !== undefined) this.tracker.prepare(next);
    // Prompts that were added meanwhile count from the next propagation on.
    const outputs = objects.map((object) => object.remembered(frame));
    const masks = await this.masksOf(frame, objects, outputs);
    const { keepFrames, reach } = this.options;
    if (reach < Infinity) {
      for (const object of objects) {
        object.forgetFar(frame, keepFrames, reach);
      }
    }
    return masks;
  }
}

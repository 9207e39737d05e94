/** What a video predictor knows of one object. */
import type { TrackingOutputs } from "../sam2/memory_selection.ts";
import type { Row } from "./shared_rows.ts";

/** The result of one frame for one object, in GPU memory. */
export interface ObjectOutput {
  /** Logits of the mask, [1, R / 4, R / 4] in its batch. */
  readonly mask: Row;
  /** Object pointer, [dModel]. */
  readonly pointer: Row;
  /** Logit of the object being in the frame, [1]. */
  readonly score: Row;
  /** Memory, [memDim, R / 16, R / 16]; missing until the prompts of the frame are final. */
  readonly memory?: Row | undefined;
}

/** Clicks of one frame, in pixels of the model input. */
export interface Clicks {
  /** x, y, x, y, … */
  readonly coords: readonly number[];
  /** One label per point. */
  readonly labels: readonly number[];
}

/** Frames that were prompted, or others that were tracked. */
export type OutputKind = keyof TrackingOutputs<ObjectOutput>;

const KINDS: readonly OutputKind[] = ["tracked", "conditioning"];

const noOutputs = (): TrackingOutputs<ObjectOutput> => ({
  conditioning: new Map(),
  tracked: new Map(),
});

/** Lets go of a result. */
export function releaseOutput({ mask, pointer, score, memory }: ObjectOutput): void {
  for (const row of [mask, pointer, score, memory]) row?.rows.release();
}

/** Prompts and outputs of one object. */
export class ObjectState {
  /** Clicks by frame, the corners of a box first. */
  readonly clicks = new Map<number, Clicks>();
  /** Frames with a mask prompt. */
  readonly maskFrames = new Set<number>();
  /** Outputs that later frames remember. */
  readonly outputs = noOutputs();
  /** Outputs of prompts since the last propagation. */
  readonly pending = noOutputs();
  /** Frames that were tracked, with the direction: true where time ran backwards. */
  readonly direction = new Map<number, boolean>();

  /** An object without prompts. */
  constructor(readonly id: number) {}

  /** The output at a frame, of all kinds; a pending one of `kind` first, where given. */
  at(frame: number, kind?: OutputKind): ObjectOutput | undefined {
    const pending = (kind ? [kind] : KINDS).map((k) => this.pending[k].get(frame));
    return pending.find((output) => output !== undefined) ?? this.remembered(frame);
  }

  /** The output at a frame that other frames remember. */
  remembered(frame: number): ObjectOutput | undefined {
    return this.outputs.conditioning.get(frame) ?? this.outputs.tracked.get(frame);
  }

  /** Puts a result where it belongs, in place of an earlier one. */
  store(to: TrackingOutputs<ObjectOutput>, kind: OutputKind, frame: number, output: ObjectOutput) {
    const earlier = to[kind].get(frame);
    if (earlier) releaseOutput(earlier);
    to[kind].set(frame, output);
  }

  /** Gives pending outputs their memories. */
  addMemory(kind: OutputKind, frame: number, memory: Row): void {
    const output = this.pending[kind].get(frame);
    if (!output) throw new Error(`Object ${this.id} has no pending output on frame ${frame}.`);
    this.pending[kind].set(frame, { ...output, memory });
  }

  /**
   * Makes the pending outputs part of what later frames remember.
   *
   * @param clearAround forgets the tracked frames around a prompted one.
   */
  merge(clearAround: (frame: number) => void): void {
    for (const kind of KINDS) {
      for (const [frame, output] of this.pending[kind]) {
        this.store(this.outputs, kind, frame, output);
        clearAround(frame);
      }
      this.pending[kind].clear();
    }
  }

  /** A prompted frame has no second, tracked output. */
  dropDoubles(): void {
    for (const frame of this.outputs.conditioning.keys()) this.dropTracked(frame);
  }

  /** Forgets the tracked output of a frame. */
  dropTracked(frame: number): void {
    this.drop(this.outputs.tracked, frame);
  }

  /** Takes all prompts of a frame back; its output remains as a tracked one. */
  clearPrompts(frame: number): void {
    this.clicks.delete(frame);
    this.maskFrames.delete(frame);
    for (const kind of KINDS) this.drop(this.pending[kind], frame);
    const output = this.outputs.conditioning.get(frame);
    if (!output) return;
    this.outputs.conditioning.delete(frame);
    this.store(this.outputs, "tracked", frame, output);
    this.direction.delete(frame);
  }

  /** Frames with prompts, in order. */
  promptedFrames(): number[] {
    return [...new Set([...this.clicks.keys(), ...this.maskFrames])].sort((a, b) => a - b);
  }

  /**
   * Forgets tracked frames that are further than `reach` from `frame` and from every prompted frame,
   * and beyond `near` that they were tracked.
   */
  forgetFar(frame: number, near: number, reach: number): void {
    const anchors = [
      frame,
      ...this.outputs.conditioning.keys(),
      ...KINDS.flatMap((kind) => [
        ...this.pending[kind].keys(),
      ]),
    ];
    const beyond = (t: number, limit: number) =>
      anchors.every((anchor) => Math.abs(t - anchor) > limit);
    for (const t of [...this.outputs.tracked.keys()]) {
      if (beyond(t, reach)) this.dropTracked(t);
    }
    for (const t of [...this.direction.keys()]) if (beyond(t, near)) this.direction.delete(t);
  }

  /** Lets go of everything. */
  clear(): void {
    for (const outputs of [this.outputs, this.pending]) {
      for (const kind of KINDS) {
        for (const frame of [...outputs[kind].keys()]) this.drop(outputs[kind], frame);
      }
    }
    this.clicks.clear();
    this.maskFrames.clear();
    this.direction.clear();
  }

  private drop(from: Map<number, ObjectOutput>, frame: number): void {
    const output = from.get(frame);
    if (!output) return;
    from.delete(frame);
    releaseOutput(output);
  }
}

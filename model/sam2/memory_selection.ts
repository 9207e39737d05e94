/** Which frames of a video a frame remembers: decided on frame numbers alone, without the GPU. */
import { UserError } from "../../engine/errors.ts";
import type { Sam2Config } from "../config.ts";

/** Outputs of earlier frames by frame number, in the order in which they were made. */
export interface TrackingOutputs<T> {
  /** Frames that were prompted. */
  readonly conditioning: Map<number, T>;
  /** Frames that were tracked. */
  readonly tracked: Map<number, T>;
}

/** The frame at hand. */
export interface SelectionQuery {
  /** Its number. */
  readonly frame: number;
  /** Frames of the video. */
  readonly numFrames: number;
  /** Whether time runs backwards. */
  readonly reverse: boolean;
  /** Whether the rules of training apply: stride 1, and pointers from the future too. */
  readonly training: boolean;
}

/** The fields of the configuration that decide. */
export type SelectionConfig = Pick<
  Sam2Config,
  | "numMaskmem"
  | "maxCondFramesInAttn"
  | "memoryTemporalStrideForEval"
  | "maxObjPtrsInEncoder"
  | "useSignedTposEncToObjPtrs"
  | "onlyObjPtrsInThePastForEval"
>;

/** What a frame attends to. */
export interface SelectedMemory<T> {
  /** Memories with the row of the temporal encoding that they get. */
  readonly memories: readonly { readonly output: T; readonly temporalRow: number }[];
  /** Object pointers with their distance in frames. */
  readonly pointers: readonly { readonly output: T; readonly distance: number }[];
  /** Frames over which distances are spread, at least 1. */
  readonly pointerSpan: number;
}

/**
 * The `limit` conditioning frames nearest to `frame` (the nearest before, the nearest not before, then
 * by distance), and the rest. -1 selects all.
 *
 * @throws {UserError} for a limit below 2.
 */
export function selectClosestConditioning<T>(
  frame: number,
  outputs: ReadonlyMap<number, T>,
  limit: number,
): { selected: Map<number, T>; rest: Map<number, T> } {
  if (limit === -1 || outputs.size <= limit) return { selected: new Map(outputs), rest: new Map() };
  if (limit < 2) {
    throw new UserError(`maxCondFramesInAttn is ${limit}; it must be -1 or at least 2.`);
  }
  const frames = [...outputs.keys()];
  const before = frames.filter((t) => t < frame).sort((a, b) => b - a).slice(0, 1);
  const after = frames.filter((t) => t >= frame).sort((a, b) => a - b).slice(0, 1);
  const near = [...before, ...after];
  const others = frames.filter((t) => !near.includes(t))
    .sort((a, b) => Math.abs(a - frame) - Math.abs(b - frame));
  const chosen = [...near, ...others].slice(0, limit);
  const pick = (keys: number[]) => new Map(keys.map((t) => [t, outputs.get(t)!]));
  return { selected: pick(chosen), rest: pick(frames.filter((t) => !chosen.includes(t))) };
}

/** The frame that fills the slot `back` frames (in strides) before the frame at hand. */
function slotFrame({ frame, reverse }: SelectionQuery, back: number, stride: number): number {
  const sign = reverse ? -1 : 1;
  if (back === 1) return frame - sign;
  // Beyond the previous frame, multiples of the stride, seen in the direction of time.
  const anchor = Math.floor((sign * frame - 2) / stride) * stride;
  return sign * (anchor - (back - 2) * stride);
}

/**
 * Chooses memories and object pointers for a frame.
 *
 * @throws {UserError} where no frame has been prompted yet.
 */
export function selectMemory<T>(
  outputs: TrackingOutputs<T>,
  query: SelectionQuery,
  config: SelectionConfig,
): SelectedMemory<T> {
  const { frame, numFrames, reverse, training } = query;
  const { numMaskmem } = config;
  if (outputs.conditioning.size === 0) {
    throw new UserError(`Frame ${frame} cannot be tracked: no frame has been prompted.`);
  }
  const { selected, rest } = selectClosestConditioning(
    frame,
    outputs.conditioning,
    config.maxCondFramesInAttn,
  );
  const earlier = (t: number) => outputs.tracked.get(t) ?? rest.get(t);

  const memories = [...selected.values()].map((output) => ({
    output,
    temporalRow: numMaskmem - 1,
  }));
  const stride = training ? 1 : config.memoryTemporalStrideForEval;
  for (let back = numMaskmem - 1; back >= 1; back--) {
    const output = earlier(slotFrame(query, back, stride));
    if (output !== undefined) memories.push({ output, temporalRow: back - 1 });
  }

  const sign = reverse ? -1 : 1;
  const onlyPast = !training && config.onlyObjPtrsInThePastForEval;
  const pointers = [...selected]
    .filter(([t]) => !onlyPast || sign * (frame - t) >= 0)
    .map(([t, output]) => {
      const signed = sign * (frame - t);
      return { output, distance: config.useSignedTposEncToObjPtrs ? signed : Math.abs(signed) };
    });
  const reach = Math.min(numFrames, config.maxObjPtrsInEncoder);
  for (let distance = 1; distance < reach; distance++) {
    const t = frame - sign * distance;
    if (t < 0 || t >= numFrames) break;
    const output = earlier(t);
    if (output !== undefined) pointers.push({ output, distance });
  }
  return { memories, pointers, pointerSpan: Math.max(1, reach - 1) };
}

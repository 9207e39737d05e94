/** Frames with names, from wherever they come. */
import type { FrameSource } from "../../model/predictors/frame_source.ts";

/** A video whose frames have names; dispose of it after use. */
export interface NamedFrames extends FrameSource, AsyncDisposable {
  /** Name of a frame's results, without an extension. */
  nameOf(index: number): string;
  /** Frames a second, for showing them. */
  readonly fps: number;
}

/** The name of a frame that has none: its number, as the official tools write it. */
export function numbered(index: number): string {
  return String(index).padStart(5, "0");
}

/** Where the frames of a video come from: they are read when they are needed. */
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import type { RgbImage } from "../sam2/image_transform.ts";

/** The frames of a video, all of one size, by number. */
export interface FrameSource {
  /** Number of frames. */
  readonly count: number;
  /** Rows of every frame. */
  readonly height: number;
  /** Pixels per row of every frame. */
  readonly width: number;
  /** Reads frame `index`; called again where a frame is needed again. */
  read(index: number): RgbImage | Promise<RgbImage>;
}

/** Frames in any order of arrival. */
export type Frames = Iterable<RgbImage> | AsyncIterable<RgbImage>;

/**
 * Frames that are in memory already.
 *
 * @throws {UserError} where there are none, or they differ in size.
 */
export function arrayFrames(frames: readonly RgbImage[]): FrameSource {
  if (frames.length === 0) throw new UserError("The video has no frames.");
  const [{ height, width }] = frames;
  frames.forEach((frame, i) => checkFrame(frame, i, { height, width }));
  return { count: frames.length, height, width, read: (index) => frames[index] };
}

/** Keeps all frames of an iterator in memory, as 8-bit pixels, so that any can be read again. */
export async function collectFrames(frames: Frames): Promise<FrameSource> {
  const list: RgbImage[] = [];
  for await (const frame of frames) list.push(frame);
  return arrayFrames(list);
}

/** What must be known of a stream before it is read. */
export interface StreamOptions {
  /** Frames that the stream will have. */
  readonly count: number;
  /** Latest frames that stay in memory, to be read again; 8 by default. */
  readonly keep?: number;
}

/**
 * Frames of an iterator of known length, read one after the other: only the latest few stay in memory.
 * It serves tracking from the first frame on; frames further back cannot be read again.
 *
 * @throws {UserError} where the stream is empty; when reading, for frames that are gone and where the
 * stream ends before its time.
 */
export async function streamFrames(
  frames: Frames,
  { count, keep = 8 }: StreamOptions,
): Promise<FrameSource> {
  const iterator = Symbol.asyncIterator in frames
    ? frames[Symbol.asyncIterator]()
    : frames[Symbol.iterator]();
  const recent = new Map<number, RgbImage>();
  let next = 0;
  const advance = async () => {
    const { done, value } = await iterator.next();
    if (done) throw new UserError(`The video ends after ${next} of its ${count} frames.`);
    recent.set(next, value);
    recent.delete(next - keep);
    next++;
    return value;
  };
  const { height, width } = await advance();
  const read = async (index: number) => {
    while (next <= index) await advance();
    const frame = recent.get(index);
    if (!frame) {
      throw new UserError(
        `Frame ${index} of the stream is gone: it has been read up to frame ${next - 1}, ` +
          `and the latest ${keep} are kept.`,
      );
    }
    return frame;
  };
  const turns = new Turns();
  return { count, height, width, read: (index) => turns.take(() => read(index)) };
}

/** Compares a frame with the size that all frames have. @throws {UserError} where it differs. */
export function checkFrame(
  frame: RgbImage,
  index: number,
  { height, width }: Pick<FrameSource, "height" | "width">,
): void {
  if (frame.width !== width || frame.height !== height) {
    throw new UserError(
      `Frame ${index} has ${frame.width} x ${frame.height} pixels; the video has ` +
        `${width} x ${height}.`,
    );
  }
  if (frame.data.length !== width * height * 3) {
    throw new UserError(
      `Frame ${index} has ${frame.data.length} bytes; ${width} x ${height} RGB pixels need ` +
        `${width * height * 3}.`,
    );
  }
}

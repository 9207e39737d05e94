/** The video of what `deno task track` found. */
import { decodeCocoRle, rleToMask } from "../../model/predictors/rle.ts";
import { hasFfmpeg } from "../frames/ffmpeg.ts";
import type { NamedFrames } from "../frames/named_frames.ts";
import { writeVideo } from "../frames/write_video.ts";
import { Canvas, objectColour, type ShownSize } from "../images/canvas.ts";
import { writeGif } from "../images/gif.ts";
import type { Picture } from "../images/picture.ts";
import type { MaskEntry } from "./result_folder.ts";
import type { StopRequest } from "./signals.ts";

/** The masks of a frame. */
export interface TrackedFrame {
  readonly frame: number;
  readonly objects: readonly (Pick<MaskEntry, "segmentation"> & { readonly object: number })[];
}

/** What to show, and how. */
export interface OverlayOptions {
  readonly frames: NamedFrames;
  /** Frames that were tracked, in order. */
  readonly tracked: readonly TrackedFrame[];
  /** All objects; their places give the colours. */
  readonly objects: readonly number[];
  /** The path without extension. */
  readonly path: string;
  readonly fps: number;
  readonly ffmpeg: string;
  readonly stop: StopRequest;
  readonly tell: (text: string) => void;
}

const MP4: ShownSize = { least: 480, most: 1280 };
/** GIF files are large, and few programs show long ones smoothly. */
const GIF: ShownSize = { least: 320, most: 480 };
const GIF_FRAMES = 200;

/**
 * Writes the tracked frames with their masks as `.mp4`, or as `.gif` where ffmpeg is not installed; a
 * GIF leaves frames out where there are more than 200.
 *
 * @returns the extension; nothing where a stop was requested meanwhile.
 * @throws {UserError} where the file cannot be written.
 */
export async function writeOverlay(options: OverlayOptions): Promise<"mp4" | "gif" | undefined> {
  const { path, fps, ffmpeg, tracked } = options;
  try {
    if (await hasFfmpeg(ffmpeg)) {
      await writeVideo(`${path}.mp4`, drawn(options, MP4, 1), { fps, ffmpeg });
      return "mp4";
    }
    const step = Math.ceil(tracked.length / GIF_FRAMES);
    await writeGif(`${path}.gif`, drawn(options, GIF, step), 1000 * step / fps);
    return "gif";
  } catch (error) {
    if (error instanceof Stopped) return undefined;
    throw error;
  }
}

/** Ends the pictures, so that no file remains. */
class Stopped extends Error {}

async function* drawn(
  { frames, tracked, objects, stop, tell }: OverlayOptions,
  size: ShownSize,
  step: number,
): AsyncGenerator<Picture> {
  for (let i = 0; i < tracked.length; i += step) {
    if (stop.requested) throw new Stopped();
    tell(`overlay ${i + 1}/${tracked.length}`);
    const { frame, objects: found } = tracked[i];
    const canvas = new Canvas(await frames.read(frame), size);
    for (const { object, segmentation } of found) {
      const mask = rleToMask(decodeCocoRle(segmentation));
      canvas.mask(mask, objectColour(objects.indexOf(object)));
    }
    canvas.caption(frames.nameOf(frame));
    yield canvas.picture;
  }
}

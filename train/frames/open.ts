/** Opens whatever can be tracked through. */
import { UserError } from "../../engine/errors.ts";
import { folderFrames } from "./folder.ts";
import { inputKind } from "./input_kind.ts";
import type { NamedFrames } from "./named_frames.ts";
import { type ScanFrames, scanFrames, type ScanOptions } from "./scan.ts";
import { type VideoFileOptions, videoFrames } from "./video_file.ts";

/** Frames, and where they come from. */
export type OpenedFrames =
  | { readonly kind: "folder" | "video"; readonly frames: NamedFrames }
  | { readonly kind: "scan"; readonly frames: ScanFrames };

/**
 * Opens a folder of images, a scan, or with ffmpeg a video file. What it is, its content tells.
 *
 * @throws {UserError} where it cannot be read, or is a single image.
 */
export async function openFrames(
  path: string,
  options: ScanOptions & VideoFileOptions = {},
): Promise<OpenedFrames> {
  const kind = await inputKind(path);
  if (kind === "folder") return { kind, frames: await folderFrames(path) };
  if (kind === "scan") return { kind, frames: await scanFrames(path, options) };
  if (kind === "image") {
    throw new UserError(
      `${path} is a single image: give a folder of frames, a video or a scan, or use segment.`,
    );
  }
  return { kind: "video", frames: await videoFrames(path, options) };
}

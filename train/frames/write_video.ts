/** Pictures as a video file, encoded by ffmpeg. */
import { UserError } from "../../engine/errors.ts";
import type { Picture } from "../images/picture.ts";
import { startFfmpeg, stopFfmpeg } from "./ffmpeg.ts";

/** How a video is written. */
export interface WriteVideoOptions {
  /** Pictures a second. */
  readonly fps: number;
  /** The program's name or path. */
  readonly ffmpeg: string;
}

/**
 * Writes pictures of one size as an MP4 file, complete or not at all; one of them is in memory at a
 * time.
 *
 * @throws {UserError} where ffmpeg is not installed, or fails.
 */
export async function writeVideo(
  path: string,
  pictures: AsyncIterable<Picture>,
  { fps, ffmpeg }: WriteVideoOptions,
): Promise<void> {
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    const reason = await encode(temporary, pictures, fps, ffmpeg);
    if (reason !== undefined) {
      throw new UserError(`ffmpeg cannot write ${path}: ${reason || "it gives no reason"}.`);
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/** Encodes; returns what went wrong. */
async function encode(
  path: string,
  pictures: AsyncIterable<Picture>,
  fps: number,
  ffmpeg: string,
): Promise<string | undefined> {
  const process = startFfmpeg(ffmpeg, [
    ...["-f", "image2pipe", "-c:v", "ppm", "-framerate", String(fps), "-i", "pipe:0"],
    // Players want colours at half the resolution, which need even sides.
    ...["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"],
    ...["-movflags", "+faststart", "-f", "mp4", "-y", `file:${path}`],
  ], "piped");
  const { child, complaint } = process;
  const writer = child.stdin.getWriter();
  const silenced = child.stdout.cancel();
  try {
    for await (const picture of pictures) {
      // Where ffmpeg has ended, its complaint says why.
      if (!await writer.write(ppm(picture)).then(() => true, () => false)) break;
    }
    await writer.close().catch(() => {});
    const [reason, { success }] = await Promise.all([complaint, child.status, silenced]);
    return success ? undefined : reason;
  } catch (error) {
    await Promise.all([stopFfmpeg(process), writer.abort().catch(() => {}), silenced]);
    throw error;
  }
}

function ppm({ data, width, height }: Picture): Uint8Array {
  const header = new TextEncoder().encode(`P6\n${width} ${height}\n255\n`);
  const file = new Uint8Array(header.length + data.length);
  file.set(header);
  file.set(data, header.length);
  return file;
}

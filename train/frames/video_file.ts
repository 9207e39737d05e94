/** A video file as frames, decoded by ffmpeg. */
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { FFMPEG, type FfmpegProcess, NoFfmpegError, startFfmpeg, stopFfmpeg } from "./ffmpeg.ts";
import { type NamedFrames, numbered } from "./named_frames.ts";
import { PpmStream } from "./ppm_stream.ts";

/** How a video file is read. */
export interface VideoFileOptions {
  /** The program, where it is not on the PATH as ffmpeg. */
  readonly ffmpeg?: string;
  /** Called with the number of frames while they are counted. */
  readonly onCount?: (frames: number) => void;
}

/** Decoded frames that stay in memory: as many as fit, so that going backwards is no new start each. */
const KEPT_BYTES = 128 * 2 ** 20;
const KEPT_FRAMES = 64;

/** Frames that are rather read over than jumped. */
const NEAR = 32;

/**
 * The frames of a video file. All are decoded once to be counted; after that they are decoded when they
 * are needed, and only the latest stay in memory. Any frame can be read at any time, but a jump, or a
 * step back beyond the frames that are kept, decodes the file from its beginning.
 *
 * @throws {UserError} where ffmpeg is not installed, or finds no frame in the file; when reading, where
 * the file ends early, and after the frames were disposed of.
 *
 * @example The size of a video
 * ```ts
 * import { videoFrames } from "sam2";
 *
 * const [path] = Deno.args;
 * if (path) {
 *   await using frames = await videoFrames(path);
 *   console.log(frames.count, "frames of", frames.width, "x", frames.height, "pixels");
 * }
 * ```
 */
export async function videoFrames(
  path: string,
  { ffmpeg = FFMPEG, onCount }: VideoFileOptions = {},
): Promise<NamedFrames> {
  const { count, fps } = await countFrames(path, ffmpeg, onCount);
  const file = new VideoFile(path, ffmpeg);
  try {
    const { width, height } = await file.read(0);
    return {
      count,
      width,
      height,
      fps,
      nameOf: numbered,
      read: (index) => file.read(index),
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The first video of a file, by a name that cannot be taken for an option or another protocol. */
const input = (path: string) => ["-i", `file:${path}`, "-map", "0:v:0"];

function start(path: string, ffmpeg: string, args: readonly string[]): FfmpegProcess {
  try {
    return startFfmpeg(ffmpeg, args);
  } catch (error) {
    if (!(error instanceof NoFfmpegError)) throw error;
    throw new NoFfmpegError(
      `${path} is no image and no scan; videos are read by ffmpeg, but ${ffmpeg} is not installed: ` +
        "install it (on Debian and Ubuntu: apt install ffmpeg), or give a folder of frames.",
    );
  }
}

const FALLBACK_FPS = 10;

async function countFrames(
  path: string,
  ffmpeg: string,
  onCount: VideoFileOptions["onCount"],
): Promise<{ count: number; fps: number }> {
  const args = [...input(path), "-nostats", "-progress", "pipe:1", "-f", "null", "-"];
  const { child, complaint } = start(path, ffmpeg, args);
  let [count, seconds, text] = [0, 0, ""];
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const [, key, value] = /^(frame|out_time)=\s*([\d:.]+)/.exec(line) ?? [];
      if (key === "frame") {
        count = Number(value);
        onCount?.(count);
      }
      if (key === "out_time") {
        seconds = value.split(":").reduce((sum, n) => 60 * sum + Number(n), 0);
      }
    }
  }
  const reason = (await complaint).replace(`file:${path}: `, "");
  await child.status;
  if (count === 0) {
    throw new UserError(`ffmpeg finds no video in ${path}${reason && `: ${reason}`}.`);
  }
  // The time of the last frame may or may not include how long it is shown.
  const fps = seconds > 0 ? Math.round(10 * count / seconds) / 10 : FALLBACK_FPS;
  return { count, fps: Math.min(Math.max(fps, 1), 60) };
}

/** A running decoder. */
interface Decoder {
  readonly process: FfmpegProcess;
  readonly pictures: PpmStream;
  /** The frame that comes next. */
  next: number;
}

/** Decodes frames in order, and from the beginning where it must. */
class VideoFile {
  private decoder: Decoder | undefined;
  /** The latest frames. */
  private readonly kept = new Map<number, RgbImage>();
  private capacity = 1;
  private closed = false;
  private readonly turns = new Turns();

  constructor(private readonly path: string, private readonly ffmpeg: string) {}

  /** Reads one frame; several calls wait for each other. */
  read(index: number): Promise<RgbImage> {
    return this.turns.take(async () => {
      // A new decoder would be ended by nobody.
      if (this.closed) throw new UserError(`${this.path} has been closed: no frame can be read.`);
      const known = this.kept.get(index);
      if (known) return known;
      const next = this.decoder?.next;
      if (next === undefined || index < next || index >= next + NEAR) {
        const back = next !== undefined && index < next;
        await this.restart(back ? Math.max(0, index - this.capacity + 1) : index);
      }
      while (!this.kept.has(index)) await this.advance();
      return this.kept.get(index)!;
    });
  }

  /** Ends the decoder. */
  close(): Promise<void> {
    return this.turns.take(() => {
      this.closed = true;
      return this.stop();
    });
  }

  private async stop(): Promise<void> {
    const { decoder } = this;
    this.decoder = undefined;
    this.kept.clear();
    if (!decoder) return;
    await Promise.all([decoder.pictures.cancel(), stopFfmpeg(decoder.process)]);
  }

  private async restart(first: number): Promise<void> {
    await this.stop();
    const process = start(this.path, this.ffmpeg, [
      ...input(this.path),
      // Evenly spaced times: otherwise frames are left out or repeated where times are uneven.
      ...["-vf", `select=gte(n\\,${first}),settb=1/25,setpts=N`, "-r", "25"],
      ...["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"],
    ]);
    this.decoder = { process, pictures: new PpmStream(process.child.stdout), next: first };
  }

  /** Decodes the next frame. */
  private async advance(): Promise<void> {
    const decoder = this.decoder!;
    const picture = await decoder.pictures.next();
    if (!picture) {
      const reason = await decoder.process.complaint;
      throw new UserError(
        `${this.path} ends before frame ${decoder.next}${reason && `: ${reason}`}.`,
      );
    }
    const fitting = Math.floor(KEPT_BYTES / picture.data.length);
    this.capacity = Math.min(KEPT_FRAMES, Math.max(1, fitting));
    this.kept.set(decoder.next++, picture);
    const [oldest] = this.kept.keys();
    if (this.kept.size > this.capacity) this.kept.delete(oldest);
  }
}

/** The program ffmpeg, which reads and writes video files where it is installed. */
import { UserError } from "../../engine/errors.ts";

/** The name under which it is looked for. */
export const FFMPEG = "ffmpeg";

/** Characters of complaints that are kept. */
const KEPT = 4000;

const QUIET = ["-nostdin", "-hide_banner", "-loglevel", "error"];

/** A running ffmpeg. */
export interface FfmpegProcess {
  /** The process. */
  readonly child: Deno.ChildProcess;
  /** Its last complaint once it has ended; empty where it has none. */
  readonly complaint: Promise<string>;
}

/** Thrown where there is no ffmpeg. */
export class NoFfmpegError extends UserError {
  /** Name of the class. */
  override name = "NoFfmpegError";
}

/**
 * Starts ffmpeg.
 *
 * @param program its name or path.
 * @param stdin whether it gets any input.
 * @throws {NoFfmpegError} where it is not installed, or is no program.
 */
export function startFfmpeg(
  program: string,
  args: readonly string[],
  stdin: "null" | "piped" = "null",
): FfmpegProcess {
  try {
    const child = new Deno.Command(program, {
      args: [...QUIET, ...args],
      stdin,
      stdout: "piped",
      stderr: "piped",
      // Its own process group: the terminal's Ctrl-C ends this process in its own time, and with it
      // the pipes by which ffmpeg lives.
      detached: Deno.build.os !== "windows",
    }).spawn();
    return { child, complaint: lastLine(child.stderr) };
  } catch (error) {
    const { NotFound, PermissionDenied } = Deno.errors;
    if (!(error instanceof NotFound || error instanceof PermissionDenied)) throw error;
    throw new NoFfmpegError(`The program ${program} is not installed.`);
  }
}

/** Whether ffmpeg can be started. */
export async function hasFfmpeg(program: string): Promise<boolean> {
  try {
    const { child, complaint } = startFfmpeg(program, ["-version"]);
    await Promise.all([new Response(child.stdout).text(), complaint]);
    return (await child.status).success;
  } catch (error) {
    if (error instanceof NoFfmpegError) return false;
    throw error;
  }
}

/** Ends ffmpeg, whatever it does. */
export async function stopFfmpeg({ child, complaint }: FfmpegProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended already.
  }
  await complaint;
  await child.status;
}

/** What ffmpeg recommends for its own options. */
const ADVICE = /^To ignore this, /;

/** The last line that says what is wrong, without a full stop. */
async function lastLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text = (text + chunk).slice(-KEPT);
  }
  const lines = text.trim().split("\n").filter((line) => !ADVICE.test(line));
  return lines.at(-1)?.replace(/\.$/, "") ?? "";
}

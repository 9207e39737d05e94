/** Options of `deno task track`. */
import { UserError } from "../../engine/errors.ts";
import type { VideoOptions } from "../../model/predictors/video_options.ts";
import { cli, decimal, folderPath, parseOptions, wholeNumber } from "../commands/cli.ts";
import { FFMPEG } from "../frames/ffmpeg.ts";
import { addModelOptions, type ModelFlags, requireWeights } from "./model_options.ts";
import { choice } from "./options.ts";
import { repeated } from "./prompt_text.ts";
import { addScanOptions, type ScanFlags } from "./scan_options.ts";
import { parseTrackPrompt, type TrackPrompt } from "./track_prompts.ts";

const DIRECTIONS = ["both", "forward", "backward"] as const;

/** Options of `deno task track`; what was not given is absent. */
export interface TrackFlags extends ModelFlags, ScanFlags {
  /** A folder of frames, a video or a scan. */
  readonly input: string;
  readonly out: string;
  readonly prompt: readonly TrackPrompt[];
  readonly direction: typeof DIRECTIONS[number];
  readonly startFrame?: number;
  readonly maxFrames?: number;
  readonly fillHoleArea?: number;
  readonly nonOverlapMasks?: boolean;
  readonly bf16Memory?: boolean;
  /** Whether the overlay is made. */
  readonly overlay: boolean;
  /** Frames a second of the overlay. */
  readonly fps?: number;
  /** The program ffmpeg. */
  readonly ffmpeg: string;
  readonly json?: boolean;
  readonly deviceInfo?: boolean;
}

/** Pixels of holes that the official builder fills. */
const FILL_HOLE_AREA = 8;

/**
 * Parses the arguments of `deno task track`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parseTrackFlags(args: readonly string[]): TrackFlags | undefined {
  const program = cli("track", "Tracks objects through a video or a scan with SAM 2.")
    .argument("<input>", "a folder of PNG or JPEG frames, a video file, or a scan (.nii.gz, .h5)")
    .requiredOption(
      "--out <dir>",
      "folder for masks/OBJ/FRAME.png, overlay.* and track.json",
      folderPath,
    )
    .option(
      "--prompt <frame:obj:kind:value>",
      "3:1:point:x,y[,label], 3:1:box:x0,y0,x1,y1 or 3:1:mask:FILE.png; frames count from 0; " +
        "may be repeated",
      repeated(parseTrackPrompt),
    )
    .addOption(
      choice(
        "--direction <name>",
        `from the first prompted frame: ${DIRECTIONS.join(", ")}`,
        DIRECTIONS,
      ).default("both"),
    )
    .option("--start-frame <n>", "where to start (default: first prompted frame)", wholeNumber())
    .option("--max-frames <n>", "frames after the first one, in each direction", wholeNumber())
    .option(
      "--fill-hole-area <n>",
      `low-resolution pixels of holes to fill (default: ${FILL_HOLE_AREA})`,
      wholeNumber(),
    )
    .option("--non-overlap-masks", "a pixel belongs to one object at most")
    .option("--bf16-memory", "keep memories in bfloat16, as the official predictor does");
  addScanOptions(program);
  addModelOptions(program)
    .option("--no-overlay", "write no overlay.mp4 (or .gif, where ffmpeg is not installed)")
    .option("--fps <x>", "speed of the overlay (default: that of the video)", decimal(0.1, 120))
    .option("--ffmpeg <program>", "name or path of ffmpeg", FFMPEG)
    .option("--device-info", "say which adapter computes")
    .option("--json", "print the content of track.json");
  const options = parseOptions<Omit<TrackFlags, "input"> & Record<string, unknown>>(program, args);
  if (options === undefined) return undefined;
  const flags = { ...options, prompt: options.prompt ?? [], input: program.args[0] };
  requireWeights(flags);
  if (flags.prompt.length === 0) {
    throw new UserError("Say what to track: --prompt FRAME:OBJ:point:x,y, or a box or a mask.");
  }
  return flags;
}

/** The options in the form that the predictor takes. */
export function videoOptions(flags: TrackFlags): VideoOptions {
  const { precision = "f32", fillHoleArea, nonOverlapMasks = false, bf16Memory = false } = flags;
  const { postprocessing } = flags;
  return {
    precision,
    fillHoleArea: fillHoleArea ?? (postprocessing ? FILL_HOLE_AREA : 0),
    nonOverlapMasks,
    bf16Memory,
  };
}

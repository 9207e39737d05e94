/** Options of `deno task segment`. */
import { UserError } from "../../engine/errors.ts";
import type { Box } from "../../model/predictors/boxes.ts";
import type { AutomaticMaskOptions } from "../../model/predictors/mask_options.ts";
import { cli, decimal, folderPath, parseOptions, wholeNumber } from "../commands/cli.ts";
import { addModelOptions, type ModelFlags, requireWeights } from "./model_options.ts";
import { type Click, parseBox, parseClick, repeated } from "./prompt_text.ts";
import { addScanOptions, type ScanFlags } from "./scan_options.ts";

/** Options of the mask generator. */
type AutoFlags = Omit<
  AutomaticMaskOptions,
  "pointGrids" | "outputMode" | "multimaskOutput" | "precision"
>;

/** Options of `deno task segment`; what was not given is absent. */
export interface SegmentFlags extends ModelFlags, ScanFlags, AutoFlags {
  /** An image or a scan. */
  readonly input: string;
  readonly out: string;
  readonly point?: readonly Click[];
  readonly box?: readonly Box[];
  /** A PNG file. */
  readonly mask?: string;
  readonly auto?: boolean;
  readonly slice?: number;
  readonly multimask?: boolean;
  readonly maxHoleArea?: number;
  readonly maxSprinkleArea?: number;
  readonly json?: boolean;
  readonly deviceInfo?: boolean;
}

/** Options that only the mask generator has, with what `--help` says of them. */
const AUTO_OPTIONS: readonly (readonly [
  name: keyof AutoFlags,
  flags: string,
  summary: string,
  parse: (text: string) => number,
])[] = [
  ["pointsPerSide", "--points-per-side <n>", "points along each side (32)", wholeNumber(1)],
  ["pointsPerBatch", "--points-per-batch <n>", "points at once (64)", wholeNumber(1)],
  ["predIouThresh", "--pred-iou-thresh <x>", "least predicted overlap (0.8)", decimal(0, 1)],
  [
    "stabilityScoreThresh",
    "--stability-score-thresh <x>",
    "least stability (0.95)",
    decimal(0, 1),
  ],
  ["stabilityScoreOffset", "--stability-score-offset <x>", "of the logits (1)", decimal(0)],
  ["boxNmsThresh", "--box-nms-thresh <x>", "overlap of duplicates (0.7)", decimal(0, 1)],
  ["cropNLayers", "--crop-n-layers <n>", "layers of crops (0)", wholeNumber(0, 4)],
  ["cropNmsThresh", "--crop-nms-thresh <x>", "the same between crops (0.7)", decimal(0, 1)],
  ["cropOverlapRatio", "--crop-overlap-ratio <x>", "of the short side (0.34)", decimal(0, 1)],
  [
    "cropNPointsDownscaleFactor",
    "--crop-n-points-downscale-factor <n>",
    "fewer points per side in each layer (1)",
    wholeNumber(1),
  ],
  [
    "minMaskRegionArea",
    "--min-mask-region-area <n>",
    "largest hole or island that is removed, in low-resolution pixels (0)",
    wholeNumber(),
  ],
];

/**
 * Parses the arguments of `deno task segment`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong or exclude each other.
 */
export function parseSegmentFlags(args: readonly string[]): SegmentFlags | undefined {
  const program = cli("segment", "Segments an image, or a slice of a scan, with SAM 2.")
    .argument("<input>", "a PNG or JPEG image, or a scan (.nii, .nii.gz, .h5)")
    .requiredOption(
      "--out <dir>",
      "folder for masks/*.png, overlay.png and segment.json",
      folderPath,
    )
    .option("--point <x,y[,label]>", "click; label 1 on the object, 0 off it", repeated(parseClick))
    .option("--box <x0,y0,x1,y1>", "box; several stand for several objects", repeated(parseBox))
    .option("--mask <file>", "PNG of the image's size, about where the object is")
    .option("--auto", "everything in the image, from a grid of points")
    .option("--multimask", "three masks per object (default for a single click)")
    .option("--no-multimask", "one mask per object")
    .option("--mask-threshold <x>", "logits above it are inside (default: 0)", decimal())
    .option("--max-hole-area <n>", "low-resolution pixels of holes to fill", wholeNumber())
    .option("--max-sprinkle-area <n>", "the same of islands to remove", wholeNumber());
  addScanOptions(
    program.option("--slice <n>", "of a scan (default: the middle one)", wholeNumber()),
  );
  addModelOptions(program);
  for (const [, flags, summary, parse] of AUTO_OPTIONS) {
    program.option(flags, `--auto: ${summary}`, parse);
  }
  program.option("--use-m2m", "--auto: refine every mask once")
    .option("--device-info", "say which adapter computes")
    .option("--json", "print the content of segment.json");
  const options = parseOptions<Omit<SegmentFlags, "input"> & Record<string, unknown>>(
    program,
    args,
  );
  if (options === undefined) return undefined;
  const flags = { ...options, input: program.args[0] };
  requireWeights(flags);
  requirePrompts(flags);
  return flags;
}

/** Options of the mask generator that were given. */
export function autoOptions(flags: SegmentFlags): AutoFlags {
  const given = [...AUTO_OPTIONS.map(([name]) => name), "maskThreshold", "useM2m"] as const;
  return Object.fromEntries(
    given.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  );
}

function requirePrompts(flags: SegmentFlags): void {
  const { point = [], box = [], mask, auto } = flags;
  const prompted = point.length + box.length > 0 || mask !== undefined;
  if (auto && prompted) throw new UserError("--auto goes without --point, --box and --mask.");
  if (!auto && !prompted) {
    throw new UserError("Say what to segment: --point, --box, --mask, or --auto for everything.");
  }
  if (box.length > 1 && (point.length > 0 || mask !== undefined)) {
    throw new UserError(
      "Several boxes stand for several objects, so that it is unclear to which of them a point or " +
        "a mask belongs: segment one object at a time.",
    );
  }
  const only = (names: readonly (keyof SegmentFlags)[]) =>
    names.find((name) => flags[name] !== undefined);
  const wrong = auto
    ? only(["maxHoleArea", "maxSprinkleArea"])
    : only([...AUTO_OPTIONS.map(([name]) => name), "useM2m"]);
  if (wrong === undefined) return;
  const option = wrong.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UserError(`--${option} goes ${auto ? "without" : "with"} --auto.`);
}

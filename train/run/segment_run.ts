/** `deno task segment` from its options to its exit code. */
import { UserError } from "../../engine/errors.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import { inputKind } from "../frames/input_kind.ts";
import { scanFrames } from "../frames/scan.ts";
import { readImage } from "../images/decode.ts";
import { requirePrecision } from "../precision.ts";
import { describeDevice, deviceInfo } from "./device_info.ts";
import { loadModel } from "./model_options.ts";
import { ProgressLine, standardError, type Terminal } from "./progress.ts";
import { requireInside } from "./prompt_text.ts";
import { ResultFolder } from "./result_folder.ts";
import { requireNoScanFlags, scanOptions } from "./scan_options.ts";
import { findMasks } from "./segment_masks.ts";
import type { SegmentFlags } from "./segment_options.ts";
import { type Subject, summary, writeResults } from "./segment_results.ts";
import { readMaskOf } from "./track_prompts.ts";

/**
 * Segments an image or a slice of a scan.
 *
 * @returns the exit code.
 * @throws {UserError} where an option, the input or the checkpoint is wrong.
 */
export async function runSegmentation(
  flags: SegmentFlags,
  terminal: Terminal = standardError(),
): Promise<number> {
  using progress = new ProgressLine(terminal);
  if (flags.deviceInfo) progress.say(describeDevice(await deviceInfo()));
  await requirePrecision(flags.precision);
  const subject = await openSubject(flags);
  for (const note of subject.notes) progress.say(note);
  const { image } = subject;
  const mask = await promptMask(flags, subject);
  await using folder = await ResultFolder.open(flags.out, "segment", flags.input);
  const started = performance.now();
  progress.update("loading the model");
  const loaded = await loadModel(flags, false);
  for (const note of loaded.notes) progress.say(note);
  const load = (performance.now() - started) / 1000;
  const work = { model: loaded.model, image, flags, ...(mask && { mask }) };
  const found = await findMasks(work, (text) => progress.update(text));
  await folder.clear();
  const seconds = { load, ...found.seconds };
  const index = await writeResults(folder, flags, subject, loaded, { ...found, seconds });
  progress[Symbol.dispose]();
  console.log(flags.json ? JSON.stringify(index, null, 1) : summary(flags, index));
  return 0;
}

async function openSubject(flags: SegmentFlags): Promise<Subject> {
  const { input, slice } = flags;
  const kind = await inputKind(input);
  if (kind === "scan") return await openSlice(flags);
  if (kind === "folder" || kind === "other") {
    const what = kind === "folder" ? "a folder" : "no PNG or JPEG image and no scan";
    throw new UserError(`${input} is ${what}: videos and folders of frames are for track.`);
  }
  requireNoScanFlags({ ...flags, ...(slice !== undefined && { slice }) });
  const { turned, ...image } = await readImage(input);
  const { width, height } = image;
  const note = `${input} asks viewers to turn it (EXIF); coordinates count in the ` +
    `${width} x ${height} pixels as stored, as in the official code.`;
  return { image, notes: turned ? [note] : [] };
}

async function openSlice(flags: SegmentFlags): Promise<Subject> {
  const { input } = flags;
  const scan = await scanFrames(input, scanOptions(flags));
  const index = flags.slice ?? Math.floor(scan.count / 2);
  if (index >= scan.count) {
    throw new UserError(`There is no slice ${index}: ${input} has slices 0 to ${scan.count - 1}.`);
  }
  const notes = scan.replaced > 0
    ? [`${scan.replaced} voxels of ${input} are no finite numbers; they are taken as 0.`]
    : [];
  return { image: await scan.read(index), slice: { scan, index }, notes };
}

/** Checks the prompts, and reads the mask among them. */
async function promptMask(
  { input, point = [], box = [], mask }: SegmentFlags,
  { image, slice }: Subject,
): Promise<BinaryMask | undefined> {
  const what = slice ? `slice ${slice.index}` : input;
  requireInside({ clicks: point }, image, what);
  for (const one of box) requireInside({ clicks: [], box: one }, image, what);
  return mask === undefined ? undefined : await readMaskOf(mask, image, what);
}

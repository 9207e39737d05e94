/** `deno task segment` from its options to its exit code. */
import { UserError } from "../../engine/errors.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { inputKind } from "../frames/input_kind.ts";
import { type ScanFrames, scanFrames } from "../frames/scan.ts";
import { readImage } from "../images/decode.ts";
import { writePng } from "../images/picture.ts";
import { writeNifti } from "../data/nifti.ts";
import { describeDevice, deviceInfo, gpuBytes } from "./device_info.ts";
import { loadModel } from "./model_options.ts";
import { ProgressLine, standardError, type Terminal } from "./progress.ts";
import { requireInside } from "./prompt_text.ts";
import { LABELS, type MaskEntry, ResultFolder } from "./result_folder.ts";
import { requireNoScanFlags, scanOptions } from "./scan_options.ts";
import { findMasks, type FoundMask } from "./segment_masks.ts";
import type { SegmentFlags } from "./segment_options.ts";
import { bestOfEach, segmentOverlay } from "./segment_overlay.ts";
import { readMaskOf } from "./track_prompts.ts";

/** What is segmented. */
interface Subject {
  readonly image: RgbImage;
  /** Where the image is a slice of a scan. */
  readonly slice?: { readonly scan: ScanFrames; readonly index: number };
  /** What a user should know about it. */
  readonly notes: readonly string[];
}

/** A mask as the JSON file lists it. */
interface SegmentEntry extends MaskEntry {
  readonly object: number;
  readonly predicted_iou: number;
  readonly stability_score?: number;
  readonly point_coords?: readonly (readonly number[])[];
  readonly crop_box?: readonly number[];
}

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
  const started = performance.now();
  const device = await deviceInfo();
  if (flags.deviceInfo) progress.say(describeDevice(device));
  const subject = await openSubject(flags);
  for (const note of subject.notes) progress.say(note);
  const mask = await promptMask(flags, subject);
  const folder = await ResultFolder.open(flags.out, "segment", flags.input);
  const loading = performance.now();
  progress.update("loading the model");
  const { model, config, weights } = await loadModel(flags, false);
  const load = (performance.now() - loading) / 1000;
  const { image } = subject;
  const found = await findMasks(
    { model, image, flags, ...(mask && { mask }) },
    (text) => progress.update(text),
  );
  const entries = await writeMasks(folder, found.masks);
  const marks = { clicks: flags.point ?? [], boxes: flags.box ?? [] };
  const overlay = segmentOverlay(image, found.masks, marks);
  await writePng(`${folder.path}/overlay.png`, overlay);
  const labels = subject.slice && await writeLabels(folder, found.masks, subject.slice);
  const total = (performance.now() - started) / 1000;
  const index = {
    input: flags.input,
    width: image.width,
    height: image.height,
    ...(subject.slice && { slice: subject.slice.index, axis: flags.axis ?? 0 }),
    model: { config, size: model.config.imageSize, weights },
    device: { ...device, gpu_bytes: await gpuBytes() },
    seconds: rounded({ load, ...found.seconds, total }),
    notes: subject.notes,
    overlay: { file: "overlay.png" },
    ...(labels && { labels }),
    masks: entries,
  };
  await folder.writeIndex(index);
  progress[Symbol.dispose]();
  console.log(flags.json ? JSON.stringify(index, null, 1) : summary(flags, entries, index.seconds));
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

async function writeMasks(
  folder: ResultFolder,
  masks: readonly FoundMask[],
): Promise<SegmentEntry[]> {
  const entries: SegmentEntry[] = [];
  for (const [i, { object, mask, predictedIou, record }] of masks.entries()) {
    const rank = i - masks.findIndex((other) => other.object === object) + 1;
    const alone = masks.filter((other) => other.object === object).length === 1;
    const file = `masks/${object}${alone ? "" : `_${rank}`}.png`;
    entries.push({
      object,
      ...await folder.writeMask(file, mask),
      predicted_iou: predictedIou,
      ...(record && {
        stability_score: record.stabilityScore,
        point_coords: record.pointCoords,
        crop_box: record.cropBox,
      }),
    });
  }
  return entries;
}

/** Labels that a byte tells apart. */
const MOST_LABELS = 255;

/** Writes the best mask of each object into a volume like the scan; small objects lie on large ones. */
async function writeLabels(
  folder: ResultFolder,
  masks: readonly FoundMask[],
  { scan, index }: NonNullable<Subject["slice"]>,
): Promise<{ file: string; objects: number }> {
  const { slice, row, voxel } = scan.layout.strides;
  const labels = new Uint8Array(scan.voxels);
  const best = bestOfEach(masks).slice(0, MOST_LABELS);
  const area = ({ mask: { data } }: FoundMask) => data.reduce((sum, value) => sum + value, 0);
  const sized = best.map((found) => ({ found, pixels: area(found) }));
  sized.sort((a, b) => b.pixels - a.pixels);
  for (const { found: { object, mask: { data, width } } } of sized) {
    data.forEach((value, i) => {
      if (value === 0) return;
      labels[index * slice + Math.floor(i / width) * row + (i % width) * voxel] = object;
    });
  }
  await writeNifti(`${folder.path}/${LABELS}`, labels, scan.header);
  return { file: LABELS, objects: best.length };
}

function rounded(seconds: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(seconds).map(([name, value]) => [name, Number(value.toFixed(3))]),
  );
}

/** Lines that are printed at most. */
const LINES = 20;

function summary(
  { out }: SegmentFlags,
  entries: readonly SegmentEntry[],
  seconds: Readonly<Record<string, number>>,
): string {
  const lines = entries.slice(0, LINES).map(({ file, predicted_iou, area, bbox }) => {
    const [x, y, width, height] = bbox;
    return `${out}/${file}  score ${predicted_iou.toFixed(3)}, ${area} pixels, ` +
      `box ${x},${y},${x + width},${y + height}`;
  });
  if (entries.length > LINES) lines.push(`and ${entries.length - LINES} more`);
  if (entries.length === 0) {
    lines.push("No mask passed the filters: lower --pred-iou-thresh or --stability-score-thresh.");
  }
  const times = Object.entries(seconds).map(([name, value]) => `${name} ${value.toFixed(1)} s`);
  return [...lines, `${out}/overlay.png and segment.json show them (${times.join(", ")}).`]
    .join("\n");
}

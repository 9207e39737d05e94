/** What `deno task segment` writes. */
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { writeNifti } from "../data/nifti.ts";
import type { ScanFrames } from "../frames/scan.ts";
import { writePng } from "../images/picture.ts";
import { describeBytes, type DeviceInfo, deviceInfo, gpuBytes } from "./device_info.ts";
import { type LoadedModel, type ModelEntry, modelEntry } from "./model_options.ts";
import { counted, LABELS, type MaskEntry, type ResultFolder } from "./result_folder.ts";
import type { FoundMask } from "./segment_masks.ts";
import type { SegmentFlags } from "./segment_options.ts";
import { bestOfEach, drawingOrder, segmentOverlay } from "./segment_overlay.ts";

/** What is segmented. */
export interface Subject {
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

/** The content of the JSON file. */
export interface SegmentIndex {
  readonly input: string;
  readonly width: number;
  readonly height: number;
  /** Number of the slice of a scan, and the axis along which slices count. */
  readonly slice?: number;
  readonly axis?: number;
  readonly model: ModelEntry;
  readonly device: DeviceInfo & { readonly gpu_bytes: number };
  readonly seconds: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
  readonly overlay: { readonly file: string };
  readonly labels?: { readonly file: string; readonly objects: number };
  readonly masks: readonly SegmentEntry[];
}

/** Writes the masks, the overlay, the labels of a scan and the JSON file. */
export async function writeResults(
  folder: ResultFolder,
  flags: SegmentFlags,
  { image, slice, notes }: Subject,
  loaded: LoadedModel,
  { masks, seconds }: {
    readonly masks: readonly FoundMask[];
    readonly seconds: Readonly<Record<string, number>>;
  },
): Promise<SegmentIndex> {
  const entries = await writeMasks(folder, masks);
  const marks = { clicks: flags.point ?? [], boxes: flags.box ?? [] };
  await writePng(`${folder.path}/overlay.png`, segmentOverlay(image, masks, marks));
  const labels = slice && await writeLabels(folder, masks, slice);
  const index: SegmentIndex = {
    input: flags.input,
    width: image.width,
    height: image.height,
    ...(slice && { slice: slice.index, axis: flags.axis ?? 0 }),
    model: modelEntry(loaded, flags),
    device: { ...await deviceInfo(), gpu_bytes: await gpuBytes() },
    seconds: rounded(seconds),
    notes: [...notes, ...loaded.notes],
    overlay: { file: "overlay.png" },
    ...(labels && { labels }),
    masks: entries,
  };
  await folder.writeIndex(index);
  return index;
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
  for (const { object, mask: { data, width } } of drawingOrder(best)) {
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

/** What is printed of it. */
export function summary({ out, deviceInfo: wanted }: SegmentFlags, index: SegmentIndex): string {
  const { masks, seconds, labels, overlay, device } = index;
  const lines = masks.slice(0, LINES).map(({ file, predicted_iou, area, bbox }) => {
    const [x, y, width, height] = bbox;
    return `${out}/${file}  score ${predicted_iou.toFixed(3)}, ${area} pixels, ` +
      `box ${x},${y},${x + width},${y + height}`;
  });
  if (masks.length > LINES) lines.push(`and ${masks.length - LINES} more`);
  if (masks.length === 0) {
    lines.push("No mask passed the filters: lower --pred-iou-thresh or --stability-score-thresh.");
  }
  const files = [labels?.file, overlay.file, "segment.json"].filter((file) => file !== undefined);
  const times = Object.entries(seconds).map(([name, value]) => `${name} ${value.toFixed(1)} s`);
  const memory = wanted ? [`${describeBytes(device.gpu_bytes)} of GPU memory`] : [];
  const costs = [...times, ...memory].join(", ");
  lines.push(`${out}: ${counted(masks.length, "mask")}, ${files.join(", ")} (${costs}).`);
  return lines.join("\n");
}

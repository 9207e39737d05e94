/** Pictures of slices with the reference and the prediction drawn over them. */
import type { LabelledVolume, Volume } from "../data/dataset.ts";
import { type Colour, enlarge, grey, montage, type Picture, writePng } from "../images/picture.ts";

/** Colours of the classes 1, 2, ...; they repeat where there are more. */
const PALETTE: readonly Colour[] = [
  [230, 75, 60],
  [70, 190, 90],
  [70, 130, 240],
  [240, 190, 50],
  [180, 90, 220],
  [60, 200, 210],
];
const OPACITY = 0.5;
/** Slices of a volume that are shown. */
const SLICES = 3;
/** Least side of a slice in the picture. */
const SIDE = 192;

/**
 * Writes a PNG with one row for each of a few slices: the image, the reference where the volume has
 * one, and the prediction `labels` [S, H, W].
 */
export async function drawOverlay(
  path: string,
  volume: Volume | LabelledVolume,
  labels: Uint8Array,
): Promise<void> {
  const truth = "label" in volume ? volume.label : undefined;
  const maps = truth ? [undefined, truth, labels] : [undefined, labels];
  const pictures = shownSlices(volume, truth ?? labels).flatMap((z) =>
    maps.map((map) => drawSlice(volume, z, map))
  );
  await writePng(path, montage(pictures, { columns: maps.length }));
}

/** A few slices, spread evenly over those with foreground, or over all where there is none. */
function shownSlices({ shape: [slices, height, width] }: Volume, labels: Uint8Array): number[] {
  const plane = height * width;
  const isForeground = (label: number) => label !== 0;
  const first = Math.max(0, labels.findIndex(isForeground));
  const last = first > 0 || labels[0] ? labels.findLastIndex(isForeground) : slices * plane - 1;
  const [low, high] = [Math.floor(first / plane), Math.floor(last / plane)];
  const chosen = Array.from(
    { length: SLICES },
    (_, i) => low + Math.floor((high - low + 1) * (i + 0.5) / SLICES),
  );
  return [...new Set(chosen)];
}

function drawSlice(volume: Volume, z: number, labels: Uint8Array | undefined): Picture {
  const [, height, width] = volume.shape;
  const [from, to] = [z * height * width, (z + 1) * height * width];
  const picture = grey(volume.image.subarray(from, to), [height, width]);
  if (labels) tint(picture, labels.subarray(from, to));
  return enlarge(picture, Math.max(1, Math.ceil(SIDE / Math.max(height, width))));
}

function tint({ data }: Picture, labels: Uint8Array): void {
  for (const [i, label] of labels.entries()) {
    if (label === 0) continue;
    const colour = PALETTE[(label - 1) % PALETTE.length];
    for (const [channel, value] of colour.entries()) {
      const at = i * 3 + channel;
      data[at] = Math.round((1 - OPACITY) * data[at] + OPACITY * value);
    }
  }
}

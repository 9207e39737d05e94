/** Pictures of a volume's slices with the reference and the prediction drawn over them. */
import type { LabelledVolume, Volume } from "../data/dataset.ts";
import { overlay } from "../images/overlay.ts";
import { montage, writePng } from "../images/picture.ts";

/** Slices of a volume that are shown. */
const SLICES = 3;

/**
 * Writes a PNG with one row for each of a few slices: the image, the reference where the volume has
 * one, and the prediction `labels` [S, H, W].
 */
export async function drawOverlays(
  path: string,
  volume: Volume | LabelledVolume,
  labels: Uint8Array,
  classes: readonly string[],
): Promise<void> {
  const [, height, width] = volume.shape;
  const truth = "label" in volume ? volume.label : undefined;
  const rows = shownSlices(volume, truth ?? labels).map((z) => {
    const [from, to] = [z * height * width, (z + 1) * height * width];
    return overlay({
      image: volume.image.subarray(from, to),
      size: [height, width],
      ...(truth && { truth: truth.subarray(from, to) }),
      prediction: labels.subarray(from, to),
      classes,
      title: `${volume.id} slice ${z + 1}`,
    });
  });
  await writePng(path, montage(rows, { columns: 1 }));
}

/** A few slices, spread evenly over those with foreground, or over all where there is none. */
function shownSlices({ shape: [slices, height, width] }: Volume, labels: Uint8Array): number[] {
  const plane = height * width;
  const isForeground = (label: number) => label !== 0;
  const found = labels.some(isForeground);
  const first = found ? Math.floor(labels.findIndex(isForeground) / plane) : 0;
  const last = found ? Math.floor(labels.findLastIndex(isForeground) / plane) : slices - 1;
  const chosen = Array.from(
    { length: SLICES },
    (_, i) => first + Math.floor((last - first + 1) * (i + 0.5) / SLICES),
  );
  return [...new Set(chosen)];
}

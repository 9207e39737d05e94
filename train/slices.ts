/** Training volumes as slices of the model's size, kept in memory. */
import type { LabelledVolume, Spacing, Volume, VolumeSource } from "./data/dataset.ts";
import { resizeBilinear, resizeNearest } from "./data/resize.ts";

/** Where the slices of one volume lie in the pool. */
export interface PooledVolume {
  readonly id: string;
  readonly first: number;
  readonly count: number;
  /** Voxel size of the resized slices in mm, where it is known. */
  readonly spacing: Spacing | null;
}

/** Slices of many volumes, each `size` pixels square. */
export interface SlicePool {
  readonly images: readonly Float32Array[];
  /** Class numbers; empty for unlabelled volumes. */
  readonly labels: readonly Uint8Array[];
  readonly volumes: readonly PooledVolume[];
}

/** Voxel size after slices of a volume are resized to `size` pixels square. */
export function resizedSpacing({ spacing, shape }: Volume, size: number): Spacing | null {
  if (!spacing) return null;
  return [spacing[0], spacing[1] * shape[1] / size, spacing[2] * shape[2] / size];
}

/** Splits [S, size, size] into planes that share its memory. */
export function planesOf<T extends Float32Array | Uint8Array>(stack: T, size: number): T[] {
  const plane = size * size;
  const count = stack.length / plane;
  return Array.from({ length: count }, (_, z) => stack.subarray(z * plane, (z + 1) * plane) as T);
}

/** Reads and resizes all volumes. Labels are read where the sources have them, and only there. */
export async function poolSlices(
  sources: readonly (VolumeSource | VolumeSource<LabelledVolume>)[],
  size: number,
): Promise<SlicePool> {
  const images: Float32Array[] = [];
  const labels: Uint8Array[] = [];
  const volumes: PooledVolume[] = [];
  for (const source of sources) {
    const volume: Volume | LabelledVolume = await source.load();
    const first = images.length;
    images.push(...planesOf(resizeBilinear(volume.image, volume.shape, [size, size]), size));
    if ("label" in volume) {
      const { label, shape } = volume as LabelledVolume;
      labels.push(...planesOf(resizeNearest(label, shape, [size, size]), size));
    }
    const spacing = resizedSpacing(volume, size);
    volumes.push({ id: volume.id, first, count: volume.shape[0], spacing });
  }
  return { images, labels, volumes };
}

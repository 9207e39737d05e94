/**
 * Distances between the surfaces of two binary volumes.
 *
 * @module
 */
import { squaredDistanceTransform } from "../../model/sss/pcsw/distance_transform.ts";
import {
  checkSpacing,
  type Spacing,
  type VolumeShape,
  voxelCount,
} from "../../model/sss/pcsw/volume.ts";

/** Distances in the unit of the spacing. */
export interface SurfaceDistances {
  /** Hausdorff distance: the largest of both directions. */
  readonly hd: number;
  /** 95th percentile, interpolated linearly, of the distances of both directions together. */
  readonly hd95: number;
  /** Mean distance from the prediction's surface to the reference's. */
  readonly asd: number;
  /** Mean of the mean distances of both directions. */
  readonly assd: number;
}

/** A part of the volume: first and last voxel along every axis. */
interface Crop {
  readonly low: readonly [number, number, number];
  readonly shape: VolumeShape;
}

/**
 * Bounds of the voxels of either mask; null when both are empty. Surfaces lie inside, so distances
 * between them are the same in the crop as in the volume.
 */
function commonBounds(a: Uint8Array, b: Uint8Array, [, H, W]: VolumeShape): Crop | null {
  let z0 = Infinity, z1 = -1, y0 = Infinity, y1 = -1, x0 = Infinity, x1 = -1;
  for (let row = 0; row * W < a.length; row++) {
    let first = -1, last = -1;
    for (let x = 0; x < W; x++) {
      if ((a[row * W + x] | b[row * W + x]) === 0) continue;
      if (first < 0) first = x;
      last = x;
    }
    if (first < 0) continue;
    const y = row % H, z = (row - y) / H;
    z0 = Math.min(z0, z);
    z1 = z;
    y0 = Math.min(y0, y);
    y1 = Math.max(y1, y);
    x0 = Math.min(x0, first);
    x1 = Math.max(x1, last);
  }
  return z1 < 0 ? null : { low: [z0, y0, x0], shape: [z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1] };
}

/**
 * Surface of `mask` inside the crop: its voxels that a face-connected erosion removes. Outside the
 * volume is background.
 */
function surface(mask: Uint8Array, [S, H, W]: VolumeShape, { low, shape }: Crop): Uint8Array {
  const found = new Uint8Array(voxelCount(shape));
  const plane = H * W;
  let at = 0;
  for (let z = low[0]; z < low[0] + shape[0]; z++) {
    for (let y = low[1]; y < low[1] + shape[1]; y++) {
      for (let x = low[2]; x < low[2] + shape[2]; x++, at++) {
        const i = z * plane + y * W + x;
        if (mask[i] === 0) continue;
        const inner = z > 0 && z < S - 1 && y > 0 && y < H - 1 && x > 0 && x < W - 1 &&
          mask[i - plane] !== 0 && mask[i + plane] !== 0 && mask[i - W] !== 0 &&
          mask[i + W] !== 0 && mask[i - 1] !== 0 && mask[i + 1] !== 0;
        if (!inner) found[at] = 1;
      }
    }
  }
  return found;
}

/** Distance from every voxel of `from` to the nearest of `to`. */
function directedDistances(
  from: Uint8Array,
  to: Uint8Array,
  shape: VolumeShape,
  spacing: Spacing,
): Float64Array {
  const squared = squaredDistanceTransform(to, shape, spacing);
  const distances = new Float64Array(from.reduce((sum, v) => sum + v, 0));
  let n = 0;
  for (let i = 0; i < from.length; i++) if (from[i] !== 0) distances[n++] = Math.sqrt(squared[i]);
  return distances;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, v) => sum + v, 0) / values.length;
}

/** Value at share `p` of the sorted values, interpolated linearly between neighbours. */
function percentile(sorted: Float64Array, p: number): number {
  const position = p * (sorted.length - 1);
  const low = Math.floor(position), high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (position - low) * (sorted[high] - sorted[low]);
}

/**
 * Surface distances of two masks `[S, H, W]`, or null when either is empty: they are undefined then.
 *
 * @param spacing voxel size along z, y and x; [1, 1, 1] gives voxels
 */
export function surfaceDistances(
  prediction: Uint8Array,
  reference: Uint8Array,
  shape: VolumeShape,
  spacing: Spacing = [1, 1, 1],
): SurfaceDistances | null {
  voxelCount(shape, prediction.length, "the prediction");
  voxelCount(shape, reference.length, "the reference");
  checkSpacing(spacing);
  const crop = commonBounds(prediction, reference, shape);
  if (crop === null) return null;
  const a = surface(prediction, shape, crop), b = surface(reference, shape, crop);
  if (!a.includes(1) || !b.includes(1)) return null;
  const forward = directedDistances(a, b, crop.shape, spacing);
  const backward = directedDistances(b, a, crop.shape, spacing);
  const pooled = new Float64Array(forward.length + backward.length);
  pooled.set(forward);
  pooled.set(backward, forward.length);
  pooled.sort();
  return {
    hd: pooled[pooled.length - 1],
    hd95: percentile(pooled, 0.95),
    asd: mean(forward),
    assd: (mean(forward) + mean(backward)) / 2,
  };
}

/** Length of the diagonal of the volume, from voxel centre to voxel centre. */
export function volumeDiagonal(shape: VolumeShape, spacing: Spacing = [1, 1, 1]): number {
  return Math.hypot(...shape.map((extent, axis) => (extent - 1) * spacing[axis]));
}

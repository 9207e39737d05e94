/**
 * Exact Euclidean distance transform of binary volumes with anisotropic spacing, one axis at a time
 * by lower envelopes of parabolas (Felzenszwalb and Huttenlocher, 2012).
 *
 * @module
 */
import { type Spacing, type VolumeShape, voxelCount } from "./volume.ts";

/** Work space of one line; long enough for the longest axis. */
interface Envelope {
  readonly values: Float64Array;
  readonly vertices: Int32Array;
  readonly bounds: Float64Array;
}

/**
 * Replaces `f[q]` on a strided line by `min_p f[p] + (step (q - p))^2`, where `f` holds squared
 * distances and Infinity stands for "no site".
 */
function transformLine(
  f: Float64Array,
  offset: number,
  stride: number,
  n: number,
  step: number,
  { values, vertices, bounds }: Envelope,
): void {
  const unit = step * step;
  let k = -1;
  for (let q = 0; q < n; q++) {
    const value = f[offset + q * stride];
    values[q] = value;
    if (value === Infinity) continue;
    let crossing = -Infinity;
    while (k >= 0) {
      const p = vertices[k];
      crossing = ((value - values[p]) / unit + (q * q - p * p)) / (2 * (q - p));
      if (crossing > bounds[k]) break;
      k--;
    }
    if (k < 0) crossing = -Infinity;
    vertices[++k] = q;
    bounds[k] = crossing;
  }
  if (k < 0) return;
  const last = k;
  k = 0;
  for (let q = 0; q < n; q++) {
    while (k < last && bounds[k + 1] < q) k++;
    const p = vertices[k];
    f[offset + q * stride] = unit * (q - p) * (q - p) + values[p];
  }
}

/** The first axis needs no envelope: the nearest site of a row is found by two sweeps. */
function transformRow(f: Float64Array, offset: number, n: number, step: number): void {
  let distance = Infinity;
  for (let x = 0; x < n; x++) {
    distance = f[offset + x] === 0 ? 0 : distance + step;
    f[offset + x] = distance;
  }
  distance = Infinity;
  for (let x = n - 1; x >= 0; x--) {
    distance = f[offset + x] === 0 ? 0 : distance + step;
    const nearest = Math.min(distance, f[offset + x]);
    f[offset + x] = nearest * nearest;
  }
}

/**
 * Squared distance `[S, H, W]` from every voxel centre to the nearest non-zero voxel of `sites`, in
 * the square of the unit of `spacing`. Infinity everywhere when there is no site.
 */
export function squaredDistanceTransform(
  sites: Uint8Array,
  shape: VolumeShape,
  spacing: Spacing = [1, 1, 1],
): Float64Array {
  const total = voxelCount(shape, sites.length, "the site mask");
  const [S, H, W] = shape;
  const f = new Float64Array(total);
  for (let i = 0; i < total; i++) f[i] = sites[i] !== 0 ? 0 : Infinity;
  for (let row = 0; row < S * H; row++) transformRow(f, row * W, W, spacing[2]);
  const longest = Math.max(S, H);
  const envelope = {
    values: new Float64Array(longest),
    vertices: new Int32Array(longest),
    bounds: new Float64Array(longest),
  };
  if (H > 1) {
    for (let z = 0; z < S; z++) {
      for (let x = 0; x < W; x++) transformLine(f, z * H * W + x, W, H, spacing[1], envelope);
    }
  }
  if (S > 1) {
    for (let i = 0; i < H * W; i++) transformLine(f, i, H * W, S, spacing[0], envelope);
  }
  return f;
}

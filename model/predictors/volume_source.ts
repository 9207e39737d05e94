/** A 3-D scan as a video: slices along any axis, in grey levels. */
import { UserError } from "../../engine/errors.ts";
import type { RgbImage } from "../sam2/image_transform.ts";
import type { FrameSource } from "./frame_source.ts";

/** A scan [depth, height, width], row-major, in any numbers. */
export interface ScanVolume {
  /** Intensities. Not a number counts as black. */
  readonly data: Readonly<ArrayLike<number>>;
  /** Voxels along each axis. */
  readonly shape: readonly [depth: number, height: number, width: number];
}

/** An axis of a scan: 0 is depth, 1 height, 2 width. */
export type VolumeAxis = 0 | 1 | 2;

/** Where the voxels of the slices along an axis are. */
export interface SliceLayout {
  /** Slices. */
  readonly count: number;
  /** Rows of a slice. */
  readonly height: number;
  /** Voxels per row. */
  readonly width: number;
  /** Index of the first voxel of a slice, of a row, and of a voxel, per step. */
  readonly strides: { readonly slice: number; readonly row: number; readonly voxel: number };
}

/** The slices along an axis; rows and columns are the other two axes in their order. */
export function sliceLayout(shape: ScanVolume["shape"], axis: VolumeAxis): SliceLayout {
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [row, voxel] = [0, 1, 2].filter((a) => a !== axis);
  return {
    count: shape[axis],
    height: shape[row],
    width: shape[voxel],
    strides: { slice: strides[axis], row: strides[row], voxel: strides[voxel] },
  };
}

/** Share of the voxels that is shown fully black, and fully white. */
const TAIL = 0.005;
const BINS = 4096;

/**
 * Intensities that are shown black and white: all but half a percent of the voxels at either end lie
 * between them, to within 1 / 4096 of the full range.
 *
 * @throws {UserError} where no voxel is a finite number.
 */
export function intensityRange(data: ScanVolume["data"]): [low: number, high: number] {
  let [least, greatest, count] = [Infinity, -Infinity, 0];
  for (let i = 0; i < data.length; i++) {
    const v = data[i];
    if (!Number.isFinite(v)) continue;
    count++;
    least = Math.min(least, v);
    greatest = Math.max(greatest, v);
  }
  if (count === 0) throw new UserError("The scan has no voxel with a finite intensity.");
  const width = (greatest - least) / BINS;
  if (width === 0) return [least, greatest];
  const bins = new Uint32Array(BINS);
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) continue;
    bins[Math.min(BINS - 1, Math.floor((data[i] - least) / width))]++;
  }
  const skip = (order: Iterable<number>) => {
    let seen = 0;
    for (const bin of order) if ((seen += bins[bin]) > TAIL * count) return bin;
    return 0;
  };
  const upwards = Array.from(bins.keys());
  const low = skip(upwards);
  return [least + low * width, least + (skip(upwards.reverse()) + 1) * width];
}

/**
 * The slices of a scan as frames, in grey levels.
 *
 * @param range intensities that are shown black and white.
 * @throws {UserError} where the data do not fit the shape, or the range is empty.
 */
export function volumeFrames(
  { data, shape }: ScanVolume,
  axis: VolumeAxis,
  [low, high]: readonly [number, number] = intensityRange(data),
): FrameSource {
  const voxels = shape[0] * shape[1] * shape[2];
  if (data.length !== voxels || voxels === 0) {
    throw new UserError(`The scan has ${data.length} voxels, not ${shape.join(" x ")}.`);
  }
  if (!(high >= low)) throw new UserError(`The intensities ${low} to ${high} are no range.`);
  const { count, height, width, strides } = sliceLayout(shape, axis);
  const scale = high > low ? 255 / (high - low) : 0;
  const read = (index: number): RgbImage => {
    const pixels = new Uint8ClampedArray(height * width * 3);
    for (let y = 0; y < height; y++) {
      const row = index * strides.slice + y * strides.row;
      for (let x = 0; x < width; x++) {
        const level = (data[row + x * strides.voxel] - low) * scale;
        const at = (y * width + x) * 3;
        pixels.fill(level, at, at + 3);
      }
    }
    return { data: pixels, width, height };
  };
  return { count, height, width, read };
}

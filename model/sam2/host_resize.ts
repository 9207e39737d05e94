/** Bilinear resizing on the host, in float64: images and masks that are too large for one GPU binding. */
import { type Band, resizeBand } from "../../engine/ops/resample_tables.ts";

/** Samples of one channel inside an array, row by row. */
export interface Plane {
  /** The array; it may hold other channels too. */
  readonly data: ArrayLike<number>;
  /** Index of the first sample. */
  readonly offset: number;
  /** Distance of neighbouring samples. */
  readonly step: number;
  /** Number of rows. */
  readonly height: number;
  /** Samples per row. */
  readonly width: number;
}

const BILINEAR = "bilinear";

function resampleRows({ data, offset, step, height, width }: Plane, band: Band): Float64Array {
  const { starts, weights, length, taps } = band;
  const out = new Float64Array(height * length);
  for (let y = 0; y < height; y++) {
    const row = offset + y * width * step;
    for (let x = 0; x < length; x++) {
      let [sum, at] = [0, row + starts[x] * step];
      for (let k = 0; k < taps; k++, at += step) sum += weights[x * taps + k] * data[at];
      out[y * length + x] = sum;
    }
  }
  return out;
}

function resampleColumns(data: Float64Array, width: number, band: Band): Float64Array {
  const { starts, weights, length, taps } = band;
  const out = new Float64Array(length * width);
  for (let y = 0; y < length; y++) {
    for (let k = 0; k < taps; k++) {
      const weight = weights[y * taps + k];
      const from = (starts[y] + k) * width;
      for (let x = 0; x < width; x++) out[y * width + x] += weight * data[from + x];
    }
  }
  return out;
}

/**
 * Resizes a plane to height x width, as PyTorch does with align_corners=false.
 *
 * @param antialias widens the filter when shrinking.
 */
export function resizePlane(
  plane: Plane,
  [height, width]: readonly [number, number],
  antialias: boolean,
): Float64Array {
  const rows = resampleRows(plane, resizeBand(plane.width, width, BILINEAR, antialias));
  return resampleColumns(rows, width, resizeBand(plane.height, height, BILINEAR, antialias));
}

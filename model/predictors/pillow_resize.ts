/**
 * Resizing of 8-bit images exactly as Pillow's `Image.resize` does it, since the official video
 * predictor resizes its frames that way. Two passes of integer arithmetic; the kernel is stretched
 * when shrinking.
 */
import { UserError } from "../../engine/errors.ts";

/** Interpolation filter; bicubic with a = -0.5. */
export type PillowFilter = "bilinear" | "bicubic";

/** 8-bit pixels [height, width, channels], row-major. */
export interface Raster {
  /** Channel values, pixel by pixel. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/** Fractional bits of the integer weights: 8 bits are for the pixel, 2 for overshoot and sign. */
const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

const CUBIC_A = -0.5;

function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * CUBIC_A : 0;
}

const triangle = (distance: number) => Math.max(0, 1 - Math.abs(distance));

const FILTERS = {
  bilinear: { weight: triangle, support: 1 },
  bicubic: { weight: cubic, support: 2 },
} as const;

/** For each output sample the first input sample, the number of them, and their integer weights. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** [output, width]: zero beyond the count. */
  readonly weights: Int32Array;
  readonly width: number;
}

function makeTaps(size: number, length: number, filter: PillowFilter): Taps {
  const { weight, support } = FILTERS[filter];
  const scale = size / length;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  const width = Math.ceil(reach) * 2 + 1;
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  const weights = new Int32Array(length * width);
  for (let i = 0; i < length; i++) {
    const center = (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - reach + 0.5));
    const to = Math.min(size, Math.trunc(center + reach + 0.5));
    const row = Array.from(
      { length: to - from },
      (_, k) => weight((k + from - center + 0.5) * (1 / stretch)),
    );
    const total = row.reduce((a, b) => a + b, 0);
    first[i] = from;
    count[i] = to - from;
    row.forEach((w, k) => {
      const scaled = (total === 0 ? w : w / total) * 2 ** PRECISION;
      weights[i * width + k] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    });
  }
  return { first, count, weights, width };
}

/** The tables of a clip's frames are all the same, so a few are kept. */
const MAX_TABLES = 16;
const tables = new Map<string, Taps>();

function tapsOf(size: number, length: number, filter: PillowFilter): Taps {
  const key = `${size} ${length} ${filter}`;
  let taps = tables.get(key);
  if (!taps) {
    if (tables.size >= MAX_TABLES) tables.clear();
    tables.set(key, taps = makeTaps(size, length, filter));
  }
  return taps;
}

/**
 * Resamples the middle axis of [outer, size, inner] to `length`; sums fit 32 bits, as in Pillow. The
 * clamped array clips to a byte.
 */
function resampleAxis(
  data: Uint8Array | Uint8ClampedArray,
  [outer, size, inner]: readonly [number, number, number],
  length: number,
  filter: PillowFilter,
): Uint8ClampedArray {
  const { first, count, weights, width } = tapsOf(size, length, filter);
  const out = new Uint8ClampedArray(outer * length * inner);
  let at = 0;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < length; i++) {
      const from = (o * size + first[i]) * inner;
      const taps = i * width;
      for (let c = 0; c < inner; c++) {
        let sum = HALF;
        for (let k = 0, p = from + c; k < count[i]; k++, p += inner) {
          sum += data[p] * weights[taps + k];
        }
        out[at++] = sum >> PRECISION;
      }
    }
  }
  return out;
}

/**
 * Resizes an image to width x height as Pillow does, bit for bit: horizontally, then vertically, each
 * only where that side changes, with 8 bits between.
 *
 * @param image any number of channels; the data tell how many.
 * @throws {UserError} where the data do not fit the size, or a side is below 1.
 *
 * @example
 * ```ts
 * import { resizePillow } from "sam2";
 *
 * const image = { data: Uint8Array.of(0, 255), width: 2, height: 1 };
 * console.log(resizePillow(image, 4, 1, "bilinear").data); // 0, 64, 191, 255
 * ```
 */
export function resizePillow(
  image: Raster,
  width: number,
  height: number,
  filter: PillowFilter = "bicubic",
): Raster {
  const channels = image.data.length / (image.width * image.height);
  if (!Number.isInteger(channels) || channels < 1) {
    throw new UserError(
      `The image has ${image.data.length} bytes, which is no whole number for each of ` +
        `${image.width} x ${image.height} pixels.`,
    );
  }
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new UserError(`An image cannot be resized to ${width} x ${height} pixels.`);
  }
  let { data } = image;
  if (width !== image.width) {
    data = resampleAxis(data, [image.height, image.width, channels], width, filter);
  }
  if (height !== image.height) {
    data = resampleAxis(data, [1, image.height, width * channels], height, filter);
  }
  return { data, width, height };
}

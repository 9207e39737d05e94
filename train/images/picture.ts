/** RGB pictures: slices as grey levels, enlarging, placing side by side, PNG files. */
import { encode } from "fast-png";
import { writeFileAtomically } from "../../engine/atomic_file.ts";

/** Red, green, blue, each 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** 8-bit RGB pixels, row-major. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3]. */
  readonly data: Uint8Array;
}

/** A picture of one colour. */
export function blank(width: number, height: number, colour: Colour = [0, 0, 0]): Picture {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) data[i] = colour[i % 3]!;
  return { width, height, data };
}

/**
 * A slice [H, W] in grey levels.
 *
 * @param range intensities shown black and white; the slice's least and largest by default.
 */
export function grey(
  slice: Float32Array,
  [height, width]: readonly [number, number],
  range?: readonly [number, number],
): Picture {
  if (slice.length !== height * width) {
    throw new RangeError(`A slice of ${slice.length} pixels is not ${height} x ${width}.`);
  }
  const low = range?.[0] ?? slice.reduce((a, b) => Math.min(a, b), Infinity);
  const high = range?.[1] ?? slice.reduce((a, b) => Math.max(a, b), -Infinity);
  const scale = high > low ? 255 / (high - low) : 0;
  const data = new Uint8Array(slice.length * 3);
  for (let i = 0; i < slice.length; i++) {
    const level = Math.min(255, Math.max(0, Math.round((slice[i]! - low) * scale)));
    data.fill(level, i * 3, i * 3 + 3);
  }
  return { width, height, data };
}

/** Each pixel as a square of `factor` x `factor` pixels. */
export function enlarge(picture: Picture, factor: number): Picture {
  const out = blank(picture.width * factor, picture.height * factor);
  const stride = out.width * 3;
  for (let y = 0; y < picture.height; y++) {
    const start = y * factor * stride;
    for (let i = 0; i < stride; i++) {
      const x = Math.floor(i / 3 / factor);
      out.data[start + i] = picture.data[(y * picture.width + x) * 3 + (i % 3)]!;
    }
    for (let copy = 1; copy < factor; copy++) {
      out.data.copyWithin(start + copy * stride, start, start + stride);
    }
  }
  return out;
}

/** Copies `source` into `target` with its left upper corner at (x, y); it must fit. */
export function paste(target: Picture, source: Picture, x: number, y: number): void {
  for (let row = 0; row < source.height; row++) {
    const from = row * source.width * 3;
    const pixels = source.data.subarray(from, from + source.width * 3);
    target.data.set(pixels, ((y + row) * target.width + x) * 3);
  }
}

/** Options of `montage`. */
export interface MontageOptions {
  /** Pictures a row; the square root of their number by default. */
  readonly columns?: number;
  /** Pixels between pictures. */
  readonly gap?: number;
  readonly background?: Colour;
}

/** Pictures in a grid, row by row, in cells of the largest width and height. */
export function montage(pictures: readonly Picture[], options: MontageOptions = {}): Picture {
  if (pictures.length === 0) throw new RangeError("A montage needs at least one picture.");
  const columns = options.columns ?? Math.ceil(Math.sqrt(pictures.length));
  const gap = options.gap ?? 2;
  const cellWidth = Math.max(...pictures.map((p) => p.width)) + gap;
  const cellHeight = Math.max(...pictures.map((p) => p.height)) + gap;
  const used = Math.min(columns, pictures.length);
  const rows = Math.ceil(pictures.length / columns);
  const out = blank(used * cellWidth - gap, rows * cellHeight - gap, options.background);
  for (const [i, picture] of pictures.entries()) {
    paste(out, picture, (i % columns) * cellWidth, Math.floor(i / columns) * cellHeight);
  }
  return out;
}

/** The bytes of a PNG file. */
export function encodePng(picture: Picture): Uint8Array {
  return encode({ ...picture, channels: 3, depth: 8 });
}

/**
 * Writes a PNG file atomically.
 *
 * @throws {UserError} if it cannot be written.
 */
export async function writePng(path: string, picture: Picture): Promise<void> {
  await writeFileAtomically(path, [encodePng(picture)]);
}

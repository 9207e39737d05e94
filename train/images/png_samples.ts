/** PNG pixels of any kind as 8-bit samples, or as they are stored. */
import { decode, type DecodedPng } from "fast-png";

/** 8-bit pixels, row-major [height, width, 3], and how opaque they are. */
export interface PngSamples {
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** Red, green and blue of each pixel. */
  readonly rgb: Uint8Array<ArrayBuffer>;
  /** Opacity of each pixel; missing where all are opaque. */
  readonly alpha?: Uint8Array<ArrayBuffer>;
}

/** How a sample of 16 bits becomes one of 8. */
type Reduce = (sample: number) => number;

const upperBits: Reduce = (sample) => sample >> 8;

/** Makes 8-bit samples that are 0 only where all bits are 0. */
export const notZero: Reduce = (sample) => sample === 0 ? 0 : 255;

/**
 * Decodes a PNG file. Grey levels of fewer bits are stretched to 8, of 16 bits the upper 8 are taken
 * unless `reduce` says otherwise, palettes become colours.
 *
 * @throws {Error} where the file is damaged.
 */
export function pngSamples(bytes: Uint8Array, reduce: Reduce = upperBits): PngSamples {
  const png = decode(bytes, { checkCrc: true });
  const { width, height, palette } = png;
  if (palette) return paletteSamples(png, palette);
  const samples = eightBits(png, reduce);
  const { channels } = png;
  const colours = channels < 3 ? 1 : 3;
  const count = width * height;
  const rgb = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) rgb[3 * i + c] = samples[i * channels + c % colours];
  }
  if (channels === colours) return { width, height, rgb };
  const alpha = new Uint8Array(count);
  for (let i = 0; i < count; i++) alpha[i] = samples[i * channels + colours];
  return { width, height, rgb, alpha };
}

/** Numbers of a PNG file as they are stored. */
export interface PngLevels {
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
  /** Samples of a pixel: grey level or palette index, or three colours; then its opacity, if any. */
  readonly channels: number;
  /** Row-major [height, width, channels]. */
  readonly levels: ArrayLike<number>;
}

/**
 * Decodes a PNG file without changing its numbers, whatever their bits.
 *
 * @throws {Error} where the file is damaged.
 */
export function pngLevels(bytes: Uint8Array): PngLevels {
  const png = decode(bytes, { checkCrc: true });
  const { width, height, channels, depth, data } = png;
  return { width, height, channels, levels: depth < 8 ? unpacked(png) : data };
}

function paletteSamples(
  png: DecodedPng,
  palette: readonly (readonly number[])[],
): PngSamples {
  const { width, height } = png;
  const indices = unpacked(png);
  const rgb = new Uint8Array(indices.length * 3);
  const alpha = new Uint8Array(indices.length).fill(255);
  for (const [i, index] of indices.entries()) {
    const colour = palette[index];
    if (!colour) {
      throw new Error(`A pixel has colour ${index} of a palette of ${palette.length}`);
    }
    rgb.set(colour.slice(0, 3), 3 * i);
    alpha[i] = colour[3] ?? 255;
  }
  return alpha.every((a) => a === 255) ? { width, height, rgb } : { width, height, rgb, alpha };
}

function eightBits(png: DecodedPng, reduce: Reduce): Uint8Array {
  if (png.depth === 16) return Uint8Array.from(png.data, reduce);
  if (png.depth === 8) return png.data as Uint8Array;
  const scale = 255 / (2 ** png.depth - 1);
  return unpacked(png).map((level) => level * scale);
}

/** Samples of one channel, of which a byte may hold several; rows begin at whole bytes. */
function unpacked({ data, depth, width, height }: DecodedPng): Uint8Array {
  if (depth === 8) return data as Uint8Array;
  const perByte = 8 / depth;
  const rowBytes = Math.ceil(width / perByte);
  const mask = 2 ** depth - 1;
  const samples = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = data[y * rowBytes + Math.floor(x / perByte)];
      samples[y * width + x] = (byte >> (8 - depth * (x % perByte + 1))) & mask;
    }
  }
  return samples;
}

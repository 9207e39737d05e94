/** Image files as pixels: PNG and JPEG, told by their content. */
import decodeJpegFile, { init } from "@jsquash/jpeg/decode.js";
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { readBytes } from "../data/files.ts";
import { type JpegHeader, readJpegHeader } from "./jpeg_header.ts";
import { notZero, type PngLevels, pngLevels, pngSamples } from "./png_samples.ts";

/** Formats that can be read. */
export type ImageFormat = "png" | "jpeg";

/** An image from a file, with the pixels as stored. */
export interface DecodedImage extends RgbImage {
  /** Red, green and blue of each pixel. */
  readonly data: Uint8Array<ArrayBuffer>;
  /** True where EXIF asks viewers to turn the picture; it is not turned here, as in Pillow. */
  readonly turned: boolean;
}

/** Pixels beyond which Pillow refuses a file too: it would rather be an attack than a picture. */
const MAX_PIXELS = 178_956_970;

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const JPEG = [0xff, 0xd8, 0xff];

/** Format of a file by its first bytes; `undefined` where it is none that can be read. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  const begins = (signature: readonly number[]) => signature.every((b, i) => bytes[i] === b);
  return begins(PNG) ? "png" : begins(JPEG) ? "jpeg" : undefined;
}

/** Pixels per row and rows. */
export interface ImageSize {
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/**
 * Size of an image from the beginning of its file.
 *
 * @returns `undefined` where the bytes end before it is known.
 */
export function sizeFromHeader(bytes: Uint8Array): ImageSize | undefined {
  if (imageFormat(bytes) === "jpeg") return readJpegHeader(bytes);
  if (imageFormat(bytes) !== "png" || bytes.length < 24) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

/**
 * Decodes a PNG or JPEG file to the pixels that Pillow gives. Transparency is left out: what lies
 * behind counts.
 *
 * @param name names the file in errors.
 * @throws {UserError} where it is of another format, damaged, too large or in CMYK colours.
 */
export async function decodeImage(bytes: Uint8Array, name: string): Promise<DecodedImage> {
  const format = imageFormat(bytes);
  if (!format) throw new UserError(`${name} is neither a PNG nor a JPEG image.`);
  const size = sizeFromHeader(bytes);
  if (!size || size.width * size.height === 0) {
    throw damaged(name, format, "its header tells no size");
  }
  if (size.width * size.height > MAX_PIXELS) {
    throw new UserError(
      `${name} has ${size.width} x ${size.height} pixels; at most ${MAX_PIXELS} can be read.`,
    );
  }
  if (format === "jpeg") return await decodeJpeg(bytes, name, size as JpegHeader);
  const { width, height, rgb: data } = decodePng(bytes, name, pngSamples);
  return { data, width, height, turned: false };
}

/**
 * Reads an image file.
 *
 * @throws {UserError} as {@link decodeImage}, and where it cannot be read.
 *
 * @example A picture from a file
 * ```ts
 * import { encode } from "fast-png";
 * import { readImage } from "sam2";
 *
 * const side = { width: 40, height: 30, channels: 3 } as const;
 * const png = encode({ ...side, data: new Uint8Array(40 * 30 * 3).fill(99) });
 * const path = await Deno.makeTempFile({ suffix: ".png" });
 * await Deno.writeFile(path, png);
 *
 * const { width, height } = await readImage(path); // for ImagePredictor.setImage()
 * console.log(width, "x", height, "pixels");
 * ```
 */
export async function readImage(path: string): Promise<DecodedImage> {
  return await decodeImage(await readBytes(path), path);
}

/**
 * Reads a mask from a PNG file: inside is what is neither black nor transparent.
 *
 * @throws {UserError} where it is no PNG, damaged or empty.
 */
export async function readMask(path: string): Promise<BinaryMask> {
  const bytes = await readBytes(path);
  if (imageFormat(bytes) !== "png") {
    throw new UserError(`${path} is no PNG image, as masks are: their values must be exact.`);
  }
  const { width, height, rgb, alpha } = decodePng(bytes, path, (b) => pngSamples(b, notZero));
  const data = new Uint8Array(width * height);
  for (let i = 0; i < data.length; i++) {
    const coloured = rgb[3 * i] + rgb[3 * i + 1] + rgb[3 * i + 2] > 0;
    data[i] = coloured && alpha?.[i] !== 0 ? 1 : 0;
  }
  if (!data.includes(1)) throw new UserError(`The mask ${path} is empty: all of it is black.`);
  return { data, width, height };
}

/**
 * Reads the numbers of a PNG file as they are stored: grey levels or palette indices stand for objects.
 *
 * @throws {UserError} where it is no PNG, or damaged.
 */
export async function readLevels(path: string): Promise<PngLevels> {
  const bytes = await readBytes(path);
  if (imageFormat(bytes) !== "png") throw new UserError(`${path} is no PNG image.`);
  return decodePng(bytes, path, pngLevels);
}

/** Where the header has the bits of a sample, and whether rows are interlaced. */
const [PNG_DEPTH, PNG_INTERLACE] = [24, 28];

function decodePng<T>(bytes: Uint8Array, name: string, decoder: (bytes: Uint8Array) => T): T {
  // The decoder takes these for whole bytes.
  if (bytes[PNG_INTERLACE] === 1 && bytes[PNG_DEPTH] < 8) {
    throw new UserError(
      `${name} is an interlaced PNG image of ${
        bytes[PNG_DEPTH]
      } bits: save it without interlacing.`,
    );
  }
  try {
    return decoder(bytes);
  } catch (error) {
    // The decoder reads on where a file stops.
    const { cause = error, message } = error as Error;
    const reason = cause instanceof RangeError ? "it ends early" : message;
    throw damaged(name, "png", reason, error);
  }
}

const CMYK = 4;
/** What the decoder says where the file ends early; it fills the rest with grey then. */
const ENDS_EARLY = /premature end of jpeg file/i;

/** What the decoder has said about the file in hand. */
const said: string[] = [];
/** Set while the decoder is fit for use: one that failed is spent. */
let decoder: Promise<void> | undefined;
const turns = new Turns();

/** Red, green, blue and opacity of each pixel; one file at a time, so that complaints are its own. */
function rgbaOf(bytes: Uint8Array): Promise<ArrayLike<number>> {
  return turns.take(async () => {
    decoder ??= init({ printErr: (text: string) => said.push(text) });
    await decoder;
    said.length = 0;
    try {
      const { data } = await decodeJpegFile(bytes.slice().buffer);
      if (said.some((text) => ENDS_EARLY.test(text))) throw new Error("it ends early");
      return data;
    } catch (error) {
      decoder = undefined;
      throw new Error(said.at(-1) ?? "it cannot be decoded", { cause: error });
    }
  });
}

async function decodeJpeg(
  bytes: Uint8Array,
  name: string,
  { width, height, components, orientation }: JpegHeader,
): Promise<DecodedImage> {
  if (components === CMYK) {
    throw new UserError(`${name} is a JPEG image in CMYK colours: convert it to RGB first.`);
  }
  const rgba = await rgbaOf(bytes).catch((error) => {
    throw damaged(name, "jpeg", error.message, error);
  });
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data[3 * i + c] = rgba[4 * i + c];
  }
  return { data, width, height, turned: orientation > 1 };
}

function damaged(name: string, format: ImageFormat, reason: string, cause?: unknown): UserError {
  const text = reason.replace(/^[A-Z](?=[a-z ])/, (first) => first.toLowerCase()).replace(
    /[.:]$/,
    "",
  );
  return new UserError(`${name} is a damaged ${format.toUpperCase()} image: ${text}.`, { cause });
}

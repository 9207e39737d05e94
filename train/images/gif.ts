/** Animated GIF files. */
import * as gifenc from "gifenc";
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import type { Picture } from "./picture.ts";

/** The part of the package that is used here; it has no types of its own. */
interface Gifenc {
  GIFEncoder(options: { auto: boolean }): GifStream;
  quantize(rgba: Uint8Array, colours: number): readonly Rgb[];
  applyPalette(rgba: Uint8Array, palette: readonly Rgb[]): Uint8Array;
}

interface GifStream {
  writeHeader(): void;
  writeFrame(indices: Uint8Array, width: number, height: number, options: GifFrame): void;
  finish(): void;
  bytes(): Uint8Array;
  readonly stream: { reset(): void };
}

interface GifFrame {
  readonly first: boolean;
  readonly palette: readonly Rgb[];
  /** Milliseconds. */
  readonly delay: number;
}

type Rgb = readonly [red: number, green: number, blue: number];

const { GIFEncoder, quantize, applyPalette } = (gifenc as { default: unknown }).default as Gifenc;

/** Colours of a frame. */
const COLOURS = 256;

/**
 * Writes pictures of one size as a GIF that repeats for ever; one of them is in memory at a time.
 *
 * @param delay milliseconds for which each is shown.
 * @throws {UserError} where the file cannot be written.
 */
export async function writeGif(
  path: string,
  pictures: AsyncIterable<Picture>,
  delay: number,
): Promise<void> {
  await writeFileAtomically(path, encoded(pictures, delay));
}

async function* encoded(
  pictures: AsyncIterable<Picture>,
  delay: number,
): AsyncGenerator<Uint8Array> {
  const gif = GIFEncoder({ auto: false });
  gif.writeHeader();
  let first = true;
  for await (const picture of pictures) {
    const rgba = withOpacity(picture);
    const palette = quantize(rgba, COLOURS);
    const indices = applyPalette(rgba, palette);
    gif.writeFrame(indices, picture.width, picture.height, { first, palette, delay });
    first = false;
    yield gif.bytes();
    gif.stream.reset();
  }
  gif.finish();
  yield gif.bytes();
}

function withOpacity({ data, width, height }: Picture): Uint8Array {
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = data[3 * i + c];
  }
  return rgba;
}

/** A folder of images as a video. */
import { UserError } from "../../engine/errors.ts";
import { ioReason } from "../data/errors.ts";
import { readBytes } from "../data/files.ts";
import { type ImageSize, readImage, sizeFromHeader } from "../images/decode.ts";
import type { NamedFrames } from "./named_frames.ts";

const IMAGE = /\.(png|jpe?g)$/i;

/** Speed at which pictures without a time of their own are shown. */
const FPS = 10;

/** Bytes in which most headers fit; of other files the whole is read. */
const HEADER_BYTES = 1 << 16;

/**
 * The PNG and JPEG files of a folder as frames, in natural order of their names ("2" before "10").
 * Sizes are compared at once; pixels are read when they are needed.
 *
 * @throws {UserError} where the folder cannot be read or has no image, two images have one name, or
 * sizes differ.
 *
 * @example Three frames
 * ```ts
 * import { encode } from "fast-png";
 * import { folderFrames } from "sam2";
 *
 * const side = { width: 40, height: 30, channels: 3 } as const;
 * const png = encode({ ...side, data: new Uint8Array(40 * 30 * 3).fill(99) });
 * const folder = await Deno.makeTempDir();
 * for (const name of ["1", "2", "10"]) await Deno.writeFile(`${folder}/${name}.png`, png);
 *
 * await using frames = await folderFrames(folder); // for a VideoPredictor
 * console.log(frames.count, "frames; the last one is", frames.nameOf(2)); // 10
 * ```
 */
export async function folderFrames(folder: string): Promise<NamedFrames> {
  const files = await imagesOf(folder);
  const paths = files.map((name) => `${folder.replace(/(?<=.)\/+$/, "")}/${name}`);
  const size = await commonSize(paths);
  const stems = files.map((name) => name.replace(IMAGE, ""));
  return {
    count: files.length,
    width: size.width,
    height: size.height,
    fps: FPS,
    nameOf: (index) => stems[index],
    read: (index) => readImage(paths[index]),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function imagesOf(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (!isDirectory && IMAGE.test(name) && !name.startsWith(".")) names.push(name);
    }
  } catch (error) {
    throw new UserError(`Cannot read ${folder}: ${ioReason(error)}.`);
  }
  if (names.length === 0) throw new UserError(`${folder} has no PNG or JPEG file.`);
  const order = new Intl.Collator("en", { numeric: true });
  names.sort((a, b) => order.compare(a, b) || (a < b ? -1 : 1));
  const taken = new Map<string, string>();
  for (const name of names) {
    const stem = name.replace(IMAGE, "");
    const other = taken.get(stem);
    if (other) {
      throw new UserError(`${folder} has ${other} and ${name}: their results would share a name.`);
    }
    taken.set(stem, name);
  }
  return names;
}

/** The size of all images. @throws {UserError} where they differ. */
async function commonSize(paths: readonly string[]): Promise<ImageSize> {
  const first = await sizeOf(paths[0]);
  for (const path of paths) {
    const { width, height } = await sizeOf(path);
    if (width === first.width && height === first.height) continue;
    throw new UserError(
      `${path} has ${width} x ${height} pixels, but ${paths[0]} has ` +
        `${first.width} x ${first.height}: all frames must have one size.`,
    );
  }
  return first;
}

async function sizeOf(path: string): Promise<ImageSize> {
  return sizeFromHeader(await beginning(path)) ?? sizeFromHeader(await readBytes(path)) ??
    // What is wrong with the file, decoding it tells.
    await readImage(path);
}

async function beginning(path: string): Promise<Uint8Array> {
  try {
    using file = await Deno.open(path);
    const bytes = new Uint8Array(HEADER_BYTES);
    const count = await file.read(bytes) ?? 0;
    return bytes.subarray(0, count);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${ioReason(error)}.`);
  }
}

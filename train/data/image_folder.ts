/** Folders of images with masks of the objects in them. */
import { readImage, readLevels } from "../images/decode.ts";
import { DataError, ioReason } from "./errors.ts";
import { fingerprintOf } from "./files.ts";
import type { SegmentedData, SegmentedFrame, SegmentedSequence } from "./sequence.ts";

const IMAGE = /\.(png|jpe?g)$/i;
const MASK = /\.png$/i;

/** Names of the folders inside the data set. */
const [IMAGES, MASKS] = ["images", "masks"];

/**
 * Opens `images/NAME.png|jpg` with `masks/NAME.png`. The grey level (or palette index) of a mask's pixel
 * is the number of the object; 0 is background. Folders inside `images` are videos, whose frames follow
 * each other in natural order of their names; images beside them stand alone.
 *
 * @throws {DataError} where folders or masks are missing.
 */
export async function openImageFolder(path: string): Promise<SegmentedData> {
  const root = path.replace(/(?<=.)\/+$/, "");
  const top = await list(`${root}/${IMAGES}`);
  const single = await pairs(root, "", top.files);
  const sequences = single.map((pair) => sequenceOf(root, pair.stem, [pair]));
  const all = [...single];
  for (const folder of top.folders) {
    const inside = await list(`${root}/${IMAGES}/${folder}`);
    const frames = await pairs(root, `${folder}/`, inside.files);
    if (frames.length > 0) sequences.push(sequenceOf(root, folder, frames));
    all.push(...frames);
  }
  if (sequences.length === 0) throw new DataError(`${root}/${IMAGES} has no PNG or JPEG file.`);
  const files = all.flatMap(({ image, mask }) => [image, mask]);
  return {
    sequences,
    labelNames: new Map(),
    fingerprint: () => fingerprintOf(root, files),
  };
}

/** Paths inside the data set. */
interface Pair {
  readonly stem: string;
  readonly image: string;
  readonly mask: string;
}

async function list(folder: string): Promise<{ files: string[]; folders: string[] }> {
  const [files, folders]: [string[], string[]] = [[], []];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (name.startsWith(".")) continue;
      if (isDirectory) folders.push(name);
      else if (IMAGE.test(name)) files.push(name);
    }
  } catch (error) {
    throw new DataError(`Cannot read ${folder}: ${ioReason(error)}.`);
  }
  const { compare } = new Intl.Collator("en", { numeric: true });
  return { files: files.sort(compare), folders: folders.sort(compare) };
}

async function pairs(root: string, folder: string, images: readonly string[]): Promise<Pair[]> {
  if (images.length === 0) return [];
  const masks = await list(`${root}/${MASKS}/${folder}`);
  const byStem = new Map(
    masks.files.filter((name) => MASK.test(name)).map((name) => [name.replace(MASK, ""), name]),
  );
  return images.map((name) => {
    const image = `${IMAGES}/${folder}${name}`;
    const stem = name.replace(IMAGE, "");
    const mask = byStem.get(stem);
    if (!mask) {
      throw new DataError(
        `${root}/${image} has no mask: ${root}/${MASKS}/${folder}${stem}.png is missing.`,
      );
    }
    return { stem, image, mask: `${MASKS}/${folder}${mask}` };
  });
}

function sequenceOf(root: string, name: string, frames: readonly Pair[]): SegmentedSequence {
  return {
    id: `${root}/${IMAGES}/${name}`,
    name,
    count: frames.length,
    read: (index) => readPair(root, frames[index]),
  };
}

async function readPair(root: string, pair: Pair): Promise<SegmentedFrame> {
  const [path, mask] = [`${root}/${pair.image}`, `${root}/${pair.mask}`];
  const image = await readImage(path);
  const { width, height, labels } = await readLabels(mask);
  if (width !== image.width || height !== image.height) {
    throw new DataError(
      `${mask} has ${width} x ${height} pixels, but ${path} has ${image.width} x ${image.height}.`,
    );
  }
  return { image, labels };
}

async function readLabels(path: string) {
  const { width, height, channels, levels } = await readLevels(path);
  const labels = new Uint16Array(width * height);
  for (let i = 0; i < labels.length; i++) {
    const at = i * channels;
    // Colours would have to be matched between frames; grey levels and palettes are exact.
    if (channels > 2 && (levels[at] !== levels[at + 1] || levels[at] !== levels[at + 2])) {
      throw new DataError(`${path} is in colours; the grey level or palette index is the object.`);
    }
    labels[i] = levels[at];
  }
  return { width, height, labels };
}

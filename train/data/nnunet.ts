/** Scans and labels in the folders of nnU-Net and of the Medical Segmentation Decathlon. */
import { volumeFrames } from "../../model/predictors/volume_source.ts";
import type { FrameSource } from "../../model/predictors/frame_source.ts";
import { DataError } from "./errors.ts";
import { readBytes } from "./files.ts";
import { type NiftiVolume, readNifti } from "./nifti.ts";
import type { SegmentedFrame, SegmentedSequence } from "./sequence.ts";

/** Scans that stay in memory. */
const KEPT_SCANS = 4;

const NIFTI = /\.nii(\.gz)?$/i;

/** What of dataset.json is needed; both layouts have it. */
interface Description {
  /** Of nnU-Net: how names of scans end. */
  readonly file_ending?: string;
  /** Of the Decathlon: the training cases. */
  readonly training?: readonly unknown[];
}

interface Case {
  readonly image: string;
  readonly label: string;
}

/**
 * Opens the training cases of a folder with `dataset.json`: those that it lists (Decathlon), else
 * `imagesTr/CASE_0000.nii.gz` with `labelsTr/CASE.nii.gz` (nnU-Net, first channel). Each scan is a
 * sequence of slices along its last axis, shown in grey levels as `track` shows them; each label is an
 * object.
 *
 * @throws {DataError} where dataset.json cannot be used or a label is missing.
 */
export async function openNnunet(path: string): Promise<SegmentedSequence[]> {
  const root = path.replace(/(?<=.)\/+$/, "");
  const description = await readDescription(`${root}/dataset.json`);
  const listed = description.training?.map((entry) => listedCase(root, entry));
  const cases = listed ?? await foundCases(root, description.file_ending ?? ".nii.gz");
  if (cases.length === 0) throw new DataError(`${root} has no training cases.`);
  const scans = new Scans();
  const sequences: SegmentedSequence[] = [];
  for (const one of cases) {
    const { frames } = await scans.get(one);
    sequences.push({ id: one.image, count: frames.count, read: (i) => scans.slice(one, i) });
  }
  return sequences;
}

async function readDescription(path: string): Promise<Description> {
  const text = new TextDecoder().decode(await readBytes(path));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path} is no JSON: ${(error as Error).message}.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DataError(`${path} does not describe a data set.`);
  }
  const { training, file_ending: ending } = value as Description;
  if (training !== undefined && !Array.isArray(training)) {
    throw new DataError(`${path} has "training", but it is no list.`);
  }
  if (ending !== undefined && !(typeof ending === "string" && NIFTI.test(ending))) {
    throw new DataError(`${path} has scans of ${JSON.stringify(ending)}; NIfTI can be read.`);
  }
  return value as Description;
}

function listedCase(root: string, entry: unknown): Case {
  const { image, label } = (entry ?? {}) as Record<string, unknown>;
  if (typeof image !== "string" || typeof label !== "string") {
    throw new DataError(
      `${root}/dataset.json has a training case without "image" or "label": ` +
        `${JSON.stringify(entry)}.`,
    );
  }
  return { image: `${root}/${image}`, label: `${root}/${label}` };
}

async function foundCases(root: string, ending: string): Promise<Case[]> {
  const first = `_0000${ending}`;
  const names = (await namesIn(`${root}/imagesTr`)).filter((name) => name.endsWith(first));
  const labels = new Set(await namesIn(`${root}/labelsTr`));
  return names.map((name) => {
    const label = name.slice(0, -first.length) + ending;
    if (!labels.has(label)) {
      throw new DataError(`${root}/imagesTr/${name} has no label: labelsTr/${label} is missing.`);
    }
    return { image: `${root}/imagesTr/${name}`, label: `${root}/labelsTr/${label}` };
  });
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
  } catch {
    throw new DataError(`${folder} is no folder that can be read.`);
  }
}

interface Scan {
  readonly frames: FrameSource;
  readonly labels: NiftiVolume;
}

/** The scans that were used last. */
class Scans {
  private readonly kept = new Map<string, Scan>();

  async get(one: Case): Promise<Scan> {
    const scan = this.kept.get(one.image) ?? await readScan(one);
    this.kept.delete(one.image);
    this.kept.set(one.image, scan);
    if (this.kept.size > KEPT_SCANS) this.kept.delete(this.kept.keys().next().value!);
    return scan;
  }

  async slice(one: Case, index: number): Promise<SegmentedFrame> {
    const { frames, labels } = await this.get(one);
    const voxels = frames.height * frames.width;
    const at = index * voxels;
    return {
      image: await frames.read(index),
      labels: labels.image.subarray(at, at + voxels),
    };
  }
}

async function readScan({ image, label }: Case): Promise<Scan> {
  const [scan, labels] = [await readNifti(image), await readNifti(label)];
  if (labels.shape.join() !== scan.shape.join()) {
    throw new DataError(
      `${label} has ${labels.shape.join(" x ")} voxels, but ${image} has ${
        scan.shape.join(" x ")
      }.`,
    );
  }
  const wrong = labels.image.find((value) => !Number.isInteger(value) || value < 0);
  if (wrong !== undefined) {
    throw new DataError(`${label} has the value ${wrong}; labels are whole numbers from 0.`);
  }
  const { image: data, shape } = scan;
  return { frames: volumeFrames({ data, shape }, 0), labels };
}

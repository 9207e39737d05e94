/** Scans and labels in the folders of nnU-Net and of the Medical Segmentation Decathlon. */
import { volumeFrames } from "../../model/predictors/volume_source.ts";
import type { FrameSource } from "../../model/predictors/frame_source.ts";
import { DataError } from "./errors.ts";
import { fingerprintOf, readBytes } from "./files.ts";
import { type NiftiVolume, readNifti } from "./nifti.ts";
import type { SegmentedData, SegmentedFrame, SegmentedSequence } from "./sequence.ts";

/** Scans that stay in memory. */
const KEPT_SCANS = 4;

const NIFTI = /\.nii(\.gz)?$/i;

/** What nnU-Net puts behind the names of scans, before the extension. */
const FIRST_CHANNEL = "_0000";

/** The name of nnU-Net's label for voxels that nobody has labelled. */
const IGNORED = "ignore";

/** What of dataset.json is needed; both layouts have it. */
interface Description {
  /** Of nnU-Net: how names of scans end. */
  readonly file_ending?: string;
  /** Of the Decathlon: the training cases. */
  readonly training?: readonly unknown[];
  /** nnU-Net: labels by names; Decathlon: names by labels. */
  readonly labels?: Readonly<Record<string, unknown>>;
}

/** Paths inside the data set. */
interface Case {
  readonly name: string;
  readonly image: string;
  readonly label: string;
}

/**
 * Opens the training cases of a folder with `dataset.json`: those that it lists (Decathlon; the first
 * nnU-Net lists them without their channels), else `imagesTr/CASE_0000.nii.gz` with
 * `labelsTr/CASE.nii.gz` (nnU-Net). Of several channels the first is taken. Each scan is a
 * sequence of slices along its last axis, shown in grey levels as `track` shows them; each label is an
 * object.
 *
 * @throws {DataError} where dataset.json cannot be used, a label is missing, or voxels have nnU-Net's
 * label `ignore`: no loss here leaves voxels out.
 */
export async function openNnunet(path: string): Promise<SegmentedData> {
  const root = path.replace(/(?<=.)\/+$/, "");
  const description = await readDescription(`${root}/dataset.json`);
  const cases = description.training
    ? await Promise.all(description.training.map((entry) => listedCase(root, entry)))
    : await foundCases(root, description.file_ending ?? ".nii.gz");
  if (cases.length === 0) throw new DataError(`${root} has no training cases.`);
  const scans = new Scans(root, description.labels?.[IGNORED]);
  const sequences: SegmentedSequence[] = [];
  for (const one of cases) {
    const { frames } = await scans.get(one);
    const { name } = one;
    const id = `${root}/${one.image}`;
    sequences.push({ id, name, count: frames.count, read: (i) => scans.slice(one, i) });
  }
  const files = cases.flatMap(({ image, label }) => [image, label]);
  return {
    sequences,
    labelNames: labelNames(description.labels ?? {}),
    fingerprint: () => fingerprintOf(root, files),
  };
}

/** Names of labels; regions of several labels have none. */
function labelNames(labels: Readonly<Record<string, unknown>>): Map<number, string> {
  const names = new Map<number, string>();
  for (const [key, value] of Object.entries(labels)) {
    if (Number.isInteger(value)) names.set(value as number, key);
    else if (typeof value === "string" && Number.isInteger(Number(key))) {
      names.set(Number(key), value);
    }
  }
  return names;
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

async function listedCase(root: string, entry: unknown): Promise<Case> {
  const { image, label } = (entry ?? {}) as Record<string, unknown>;
  if (typeof image !== "string" || typeof label !== "string") {
    throw new DataError(
      `${root}/dataset.json has a training case without "image" or "label": ` +
        `${JSON.stringify(entry)}.`,
    );
  }
  const name = image.replace(/^.*\//, "").replace(NIFTI, "");
  const found = { name, image: plain(image), label: plain(label) };
  const channel = found.image.replace(NIFTI, `${FIRST_CHANNEL}$&`);
  const there = (path: string) => Deno.stat(`${root}/${path}`).then(() => true, () => false);
  // Where neither is there, reading the scan says so.
  if (await there(found.image) || !await there(channel)) return found;
  return { ...found, image: channel };
}

/** The Decathlon's lists write "./imagesTr/…". */
const plain = (path: string) => path.replace(/^(\.\/)+/, "");

async function foundCases(root: string, ending: string): Promise<Case[]> {
  const first = `${FIRST_CHANNEL}${ending}`;
  // Archives from macOS have hidden files beside the scans.
  const names = (await namesIn(`${root}/imagesTr`))
    .filter((name) => name.endsWith(first) && !name.startsWith("."));
  const labels = new Set(await namesIn(`${root}/labelsTr`));
  return names.map((name) => {
    const stem = name.slice(0, -first.length);
    const label = stem + ending;
    if (!labels.has(label)) {
      throw new DataError(`${root}/imagesTr/${name} has no label: labelsTr/${label} is missing.`);
    }
    return { name: stem, image: `imagesTr/${name}`, label: `labelsTr/${label}` };
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

  constructor(
    /** Folder of the data set. */
    private readonly root: string,
    /** The label of voxels to ignore, where there is one. */
    private readonly ignored: unknown,
  ) {}

  async get(one: Case): Promise<Scan> {
    const scan = this.kept.get(one.image) ?? await readScan(this.root, one, this.ignored);
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

async function readScan(root: string, one: Case, ignored: unknown): Promise<Scan> {
  const [image, label] = [`${root}/${one.image}`, `${root}/${one.label}`];
  const [scan, labels] = [await readNifti(image, { firstVolume: true }), await readNifti(label)];
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
  if (typeof ignored === "number" && labels.image.includes(ignored)) {
    throw new DataError(
      `${label} has voxels of label ${ignored}, which dataset.json calls "${IGNORED}"; ` +
        "finetune cannot leave voxels out: give every voxel a label.",
    );
  }
  const { image: data, shape } = scan;
  return { frames: volumeFrames({ data, shape }, 0), labels };
}

/** The ACDC cardiac MRI set in the SSL4MIS layout. */
import {
  type DataSet,
  labelledPatients,
  type LabelledVolume,
  type Volume,
  type VolumeShape,
  type VolumeSource,
} from "./dataset.ts";
import { DataError, ioReason } from "./errors.ts";
import { fingerprintOf, readBytes } from "./files.ts";
import { type HdfArray, readHdf5 } from "./hdf5.ts";

/** Names of the labels 1, 2, 3. */
export const ACDC_CLASSES = ["RV", "Myo", "LV"] as const;

/** Options of `openAcdc`. */
export interface AcdcOptions {
  /** Number of labelled training patients in the order of train_slices.list; all by default. */
  readonly labeled?: number;
}

interface Stack {
  readonly id: string;
  readonly patient: string;
  /** Slice numbers, ascending. */
  readonly numbers: number[];
}

/**
 * Opens a folder with `train_slices.list`, `val.list`, `test.list`, optionally `train.list`,
 * `data/slices/NAME_slice_K.h5` (training) and `data/NAME.h5` (validation and test), each with
 * the datasets `image` and `label`. Lists are checked against each other and against the folder
 * here; a volume's files are read by its `load()`. The files carry no voxel spacing.
 *
 * @throws {DataError} if the folder or a listed file is missing, the lists contradict each other,
 * or `labeled` is not a whole number from 1 to the number of training patients.
 */
export async function openAcdc(directory: string, options: AcdcOptions = {}): Promise<DataSet> {
  await requireFolder(directory);
  const slices = await readList(directory, "train_slices.list");
  const stacks = groupSlices(`${directory}/train_slices.list`, slices);
  const validation = await readList(directory, "val.list");
  const test = await readList(directory, "test.list");
  await checkVolumeList(directory, stacks);
  checkDisjoint(directory, stacks, validation, test);
  const wholes = [...validation, ...test];
  await requireFiles(directory, "train_slices.list", "data/slices", slices);
  await requireFiles(directory, "val.list", "data", validation);
  await requireFiles(directory, "test.list", "data", test);
  const patients = [...new Set(stacks.map((s) => s.patient))];
  const labelled = labelledPatients(patients, options.labeled);
  const whole = (id: string) => ({
    id,
    patient: patientOf(id),
    load: () => readWhole(directory, id),
  });
  return {
    name: "acdc",
    classes: ACDC_CLASSES,
    labelled: stacks.filter((s) => labelled.has(s.patient)).map((s) => ({
      ...describe(s),
      load: () => readLabelledStack(directory, s),
    })),
    unlabelled: stacks.filter((s) => !labelled.has(s.patient)).map((s) => ({
      ...describe(s),
      load: () => readStack(directory, s),
    })),
    validation: validation.map(whole),
    test: test.map(whole),
    fingerprint: () =>
      fingerprintOf(directory, [
        ...["train_slices.list", "val.list", "test.list"],
        ...[
          ...slices.map((name) => `data/slices/${name}.h5`),
          ...wholes.map((name) => `data/${name}.h5`),
        ].sort(),
      ]),
  };
}

function describe(stack: Stack): Omit<VolumeSource, "load"> {
  return { id: stack.id, patient: stack.patient, slices: stack.numbers.length };
}

function patientOf(id: string): string {
  return id.split("_")[0] ?? id;
}

// ---- lists -------------------------------------------------------------------------------------

async function requireFolder(directory: string): Promise<void> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(directory);
  } catch (error) {
    throw new DataError(`Cannot open the data folder ${directory}: ${ioReason(error)}.`);
  }
  if (!info.isDirectory) throw new DataError(`The data folder ${directory} is not a folder.`);
}

async function readList(directory: string, file: string): Promise<string[]> {
  const path = `${directory}/${file}`;
  const names = new TextDecoder().decode(await readBytes(path))
    .split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (names.length === 0) throw new DataError(`${path} is empty.`);
  const seen = new Set<string>();
  for (const name of names) {
    if (!/^\w+$/.test(name)) {
      throw new DataError(`${path} has the line ${JSON.stringify(name)}, which is no volume name.`);
    }
    if (seen.has(name)) throw new DataError(`${path} lists ${name} twice.`);
    seen.add(name);
  }
  return names;
}

/** Volumes in the order of their first slice in the list. */
function groupSlices(path: string, names: readonly string[]): Stack[] {
  const stacks = new Map<string, Stack>();
  for (const name of names) {
    const match = /^(\w+)_slice_(\d+)$/.exec(name);
    const id = match?.[1];
    if (id === undefined) {
      throw new DataError(`${path} lists ${name}, which is not named VOLUME_slice_NUMBER.`);
    }
    const stack = stacks.get(id) ?? { id, patient: patientOf(id), numbers: [] };
    stack.numbers.push(Number(match![2]));
    stacks.set(id, stack);
  }
  for (const { id, numbers } of stacks.values()) {
    numbers.sort((a, b) => a - b);
    const gap = numbers.findIndex((n, i) => n !== numbers[0]! + i);
    if (gap > 0) {
      throw new DataError(
        `${path} lists slices ${numbers[gap - 1]} and ${numbers[gap]} of ${id} ` +
          `but not slice ${numbers[gap - 1]! + 1}.`,
      );
    }
  }
  return [...stacks.values()];
}

/** train.list, where there is one, must name the volumes that train_slices.list is made of. */
async function checkVolumeList(directory: string, stacks: readonly Stack[]): Promise<void> {
  const exists = await Deno.stat(`${directory}/train.list`).then(() => true, () => false);
  if (!exists) return;
  const listed = new Set(await readList(directory, "train.list"));
  const sliced = new Set(stacks.map((s) => s.id));
  for (const id of listed) {
    if (!sliced.has(id)) {
      throw new DataError(
        `${directory}/train.list names ${id}, of which train_slices.list has no slice.`,
      );
    }
  }
  for (const id of sliced) {
    if (!listed.has(id)) {
      throw new DataError(
        `${directory}/train_slices.list has slices of ${id}, which train.list does not name.`,
      );
    }
  }
}

function checkDisjoint(
  directory: string,
  stacks: readonly Stack[],
  validation: readonly string[],
  test: readonly string[],
): void {
  const splits: [string, Set<string>][] = [
    ["train_slices.list", new Set(stacks.map((s) => s.patient))],
    ["val.list", new Set(validation.map(patientOf))],
    ["test.list", new Set(test.map(patientOf))],
  ];
  for (const [i, [nameA, a]] of splits.entries()) {
    for (const [nameB, b] of splits.slice(i + 1)) {
      const shared = [...a].find((patient) => b.has(patient));
      if (shared !== undefined) {
        throw new DataError(
          `${directory}: ${nameA} and ${nameB} both have volumes of ${shared}; ` +
            `a patient may be in one split only.`,
        );
      }
    }
  }
}

async function requireFiles(
  directory: string,
  list: string,
  folder: string,
  names: readonly string[],
): Promise<void> {
  const present = new Set<string>();
  try {
    for await (const entry of Deno.readDir(`${directory}/${folder}`)) present.add(entry.name);
  } catch (error) {
    throw new DataError(`Cannot open the data folder ${directory}/${folder}: ${ioReason(error)}.`);
  }
  const absent = names.filter((name) => !present.has(`${name}.h5`));
  if (absent.length > 0) {
    const others = absent.length > 1 ? ` (and ${absent.length - 1} more of its files)` : "";
    throw new DataError(
      `${directory}/${list} names ${absent[0]}, but ${folder}/${absent[0]}.h5 does not ` +
        `exist${others}.`,
    );
  }
}

// ---- volumes -----------------------------------------------------------------------------------

interface Part {
  readonly path: string;
  readonly image: HdfArray & { readonly data: Float32Array };
  readonly label: Uint8Array | undefined;
}

async function readPart(path: string, withLabel: boolean, dimensions: 2 | 3): Promise<Part> {
  const arrays = await readHdf5(path, await readBytes(path), [
    { name: "image", as: "f32" },
    ...(withLabel ? [{ name: "label", as: "u8" } as const] : []),
  ]);
  const image = arrays.get("image")!;
  const label = arrays.get("label");
  const data = image.data instanceof Float32Array ? image.data : Float32Array.from(image.data);
  if (image.shape.length !== dimensions || data.length === 0) {
    throw new DataError(
      `The image of ${path} has the shape [${image.shape.join(", ")}], not ${dimensions} ` +
        `dimensions of at least one element.`,
    );
  }
  const bad = data.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) {
    throw new DataError(`The image of ${path} has the value ${data[bad]} at element ${bad}.`);
  }
  if (label) checkLabel(path, image.shape, label);
  return {
    path,
    image: { shape: image.shape, data },
    label: label?.data instanceof Uint8Array ? label.data : undefined,
  };
}

function checkLabel(path: string, shape: readonly number[], label: HdfArray): void {
  if (label.shape.length !== shape.length || label.shape.some((n, i) => n !== shape[i])) {
    throw new DataError(
      `The label of ${path} has the shape [${label.shape.join(", ")}] but the image has ` +
        `[${shape.join(", ")}].`,
    );
  }
  const bad = label.data.find((value) => value > ACDC_CLASSES.length);
  if (bad !== undefined) {
    throw new DataError(
      `The label of ${path} has the value ${bad}, but labels go from 0 to ${ACDC_CLASSES.length}.`,
    );
  }
}

async function readWhole(directory: string, id: string): Promise<LabelledVolume> {
  const { image, label } = await readPart(`${directory}/data/${id}.h5`, true, 3);
  const [s, h, w] = image.shape as [number, number, number];
  return { id, patient: patientOf(id), image: image.data, label: label!, shape: [s, h, w] };
}

async function readStack(directory: string, stack: Stack): Promise<Volume> {
  return joinImages(stack, await readParts(directory, stack, false));
}

async function readLabelledStack(directory: string, stack: Stack): Promise<LabelledVolume> {
  const parts = await readParts(directory, stack, true);
  const volume = joinImages(stack, parts);
  const label = new Uint8Array(volume.image.length);
  const size = volume.shape[1] * volume.shape[2];
  parts.forEach((part, i) => label.set(part.label!, i * size));
  return { ...volume, label };
}

async function readParts(directory: string, stack: Stack, withLabel: boolean): Promise<Part[]> {
  const parts: Part[] = [];
  for (const number of stack.numbers) {
    const path = `${directory}/data/slices/${stack.id}_slice_${number}.h5`;
    parts.push(await readPart(path, withLabel, 2));
  }
  return parts;
}

function joinImages(stack: Stack, parts: readonly Part[]): Volume {
  const first = parts[0]!;
  const [h, w] = first.image.shape as [number, number];
  const shape: VolumeShape = [parts.length, h, w];
  const image = new Float32Array(parts.length * h * w);
  for (const [i, part] of parts.entries()) {
    if (part.image.shape[0] !== h || part.image.shape[1] !== w) {
      throw new DataError(
        `The image of ${part.path} has the shape [${part.image.shape.join(", ")}], but ` +
          `${first.path} of the same volume has [${h}, ${w}].`,
      );
    }
    image.set(part.image.data, i * h * w);
  }
  return { id: stack.id, patient: stack.patient, image, shape };
}

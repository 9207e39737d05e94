/** A generated data set of cine cardiac MRI, for trials and tests without any files. */
import { type DataSet, labelledPatients, type LabelledVolume, type Volume } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { sha256 } from "./files.ts";
import type { Patient } from "./phantom_anatomy.ts";
import { drawPatient } from "./phantom_patient.ts";
import { type Phase, renderFrame } from "./phantom_render.ts";
import { Random } from "./random.ts";

/** Names of the labels 1, 2, 3: the same as in ACDC. */
export const PHANTOM_CLASSES = ["RV", "Myo", "LV"] as const;

/** Options of `createPhantom`. */
export interface PhantomOptions {
  /** Default 0. */
  readonly seed?: number;
  /** Side of the slices in pixels, default 128. */
  readonly size?: number;
  /** Number of training patients, default 20. */
  readonly train?: number;
  /** Number of labelled training patients, default 4 (or all if there are fewer). */
  readonly labeled?: number;
  /** Number of validation patients, default 4. */
  readonly validation?: number;
  /** Number of test patients, default 6. */
  readonly test?: number;
}

const PHASES: readonly Phase[] = ["diastole", "systole"];

/**
 * A seeded set of short-axis cardiac volumes: two frames (end of diastole and of systole) of
 * patients whose anatomy, disease, contrast, coil profile, blur and noise differ; intensities are
 * min-max normalised per volume as in ACDC, and the spacing is known. Volumes are generated on
 * their first use and kept. A patient depends on the seed, the split and its number alone, so
 * that sets with more patients begin with the same ones.
 *
 * @throws {DataError} if an option is not a whole number in its range.
 */
export function createPhantom(options: PhantomOptions = {}): DataSet {
  const { seed = 0, size = 128, train = 20, validation = 4, test = 6 } = options;
  requireWhole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  requireWhole("size", size, 16, 1024);
  requireWhole("number of training patients", train, 1, 9999);
  requireWhole("number of validation patients", validation, 1, 9999);
  requireWhole("number of test patients", test, 1, 9999);
  const random = new Random(seed);
  const split = (name: string, count: number) =>
    Array.from({ length: count }, (_, i) => frames(random, name, i + 1, size));
  const patients = split("train", train);
  const labelled = labelledPatients(
    patients.map((p) => p[0]!.patient),
    options.labeled ?? Math.min(4, train),
  );
  const has = (frame: Frame) => labelled.has(frame.patient);
  const training = patients.flat();
  const held = { validation: split("validation", validation), test: split("test", test) };
  return {
    name: "phantom",
    classes: PHANTOM_CLASSES,
    labelled: training.filter(has).map(labelledSource),
    unlabelled: training.filter((f) => !has(f)).map((frame) => ({
      ...labelledSource(frame),
      load: () => Promise.resolve(withoutLabel(frame.volume())),
    })),
    validation: held.validation.flat().map(labelledSource),
    test: held.test.flat().map(labelledSource),
    fingerprint: () => fingerprint([...training, ...held.validation.flat(), ...held.test.flat()]),
  };
}

interface Frame {
  readonly id: string;
  readonly patient: string;
  readonly slices: number;
  volume(): LabelledVolume;
}

function labelledSource({ id, patient, slices, volume }: Frame) {
  return { id, patient, slices, load: () => Promise.resolve(volume()) };
}

function withoutLabel({ label: _label, ...volume }: LabelledVolume): Volume {
  return volume;
}

function requireWhole(what: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new DataError(
      `The phantom's ${what} must be a whole number from ${low} to ${high}, not ${value}.`,
    );
  }
}

function frames(random: Random, split: string, number: number, size: number): Frame[] {
  const own = random.fork(split, number);
  const anatomy = drawPatient(own);
  const patient = `${split}${String(number).padStart(3, "0")}`;
  return PHASES.map((phase, i) => {
    const id = `${patient}_frame${String(i + 1).padStart(2, "0")}`;
    let kept: LabelledVolume | undefined;
    const volume = () => kept ??= render(anatomy, phase, size, own.fork(phase), { id, patient });
    return { id, patient, slices: anatomy.slices, volume };
  });
}

function render(
  anatomy: Patient,
  phase: Phase,
  size: number,
  random: Random,
  names: { id: string; patient: string },
): LabelledVolume {
  const { image, label } = renderFrame(anatomy, phase, size, random);
  normalise(image);
  return {
    ...names,
    image,
    label,
    shape: [anatomy.slices, size, size],
    spacing: anatomy.spacing,
  };
}

/** To 0 ... 1 over the whole volume, in place. */
function normalise(image: Float32Array): void {
  let [low, high] = [Infinity, -Infinity];
  for (const value of image) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  for (let i = 0; i < image.length; i++) image[i] = (image[i]! - low) / (high - low);
}

async function fingerprint(all: readonly Frame[]): Promise<string> {
  const lines: string[] = [];
  for (const frame of all) {
    const { id, image, label, shape, spacing } = frame.volume();
    const pixels = await sha256(new Uint8Array(image.slice().buffer));
    lines.push(`${id} ${shape} ${spacing} ${pixels} ${await sha256(label.slice())}`);
  }
  return await sha256(lines.join("\n"));
}

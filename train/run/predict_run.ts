/** `deno task predict` from its options to its exit code. */
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import { cli, folderPath, parseOptions } from "../commands/cli.ts";
import type { DataSet, Spacing } from "../data/dataset.ts";
import { ioReason } from "../data/errors.ts";
import { plainHeader, volumeId, writeNifti } from "../data/nifti.ts";
import { type FileVolume, readVolume } from "../data/read_volume.ts";
import { requirePrecision } from "../precision.ts";
import { checkpointOption, HALF_PRECISION, precisionOption, voxelSpacing } from "./options.ts";
import { drawOverlays } from "./overlays.ts";
import { type CheckpointName, makeFolder, RunDirectory } from "./run_dir.ts";
import type { CreateTrainer } from "./train_run.ts";

/** Options of `deno task predict`. */
export interface PredictFlags {
  /** The folder of the run. */
  readonly run: string;
  /** A scan, or a folder of scans. */
  readonly input: string;
  readonly out: string;
  readonly spacing?: Spacing;
  readonly checkpoint?: CheckpointName;
  readonly precision?: Precision;
}

const SCAN = /\.(nii|nii\.gz|h5|hdf5)$/i;

/**
 * Parses the arguments of `deno task predict`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parsePredictFlags(args: readonly string[]): PredictFlags | undefined {
  const program = cli("predict", "Segments scans with a run's checkpoint.")
    .argument("<run>", "folder of the run")
    .argument("<input>", "a .nii, .nii.gz or .h5 file, or a folder of such files")
    .requiredOption(
      "--out <dir>",
      "folder for NAME.nii.gz (labels) and NAME.png (overlays)",
      folderPath,
    )
    .option("--spacing <z,y,x>", "voxel spacing in mm where the files store none", voxelSpacing)
    .addOption(checkpointOption())
    .addOption(precisionOption(HALF_PRECISION));
  const options = parseOptions<Omit<PredictFlags, "run" | "input"> & Record<string, unknown>>(
    program,
    args,
  );
  return options && { ...options, run: program.args[0], input: program.args[1] };
}

/**
 * Segments one scan or all scans of a folder as the test volumes of the run are segmented: each is
 * brought to intensities from 0 to 1, then predicted without prompts from outside.
 *
 * @returns the exit code.
 * @throws {UserError} where an option, the run or a scan is wrong.
 */
export async function runPrediction(flags: PredictFlags, create: CreateTrainer): Promise<number> {
  const { out, spacing, precision } = flags;
  await requirePrecision(precision);
  const directory = await RunDirectory.open(flags.run);
  const config = await directory.readConfig();
  const name = flags.checkpoint ?? await directory.preferred();
  const checkpoint = await directory.loadCheckpoint(name, config);
  const scans = await findScans(flags.input);
  await makeFolder(out);
  await requireElsewhere(out, scans);
  const trainer = await create(config.train, withoutVolumes(config.data));
  await trainer.load(checkpoint.trainer);
  for (const path of scans) {
    const { header, replaced, ...scan } = await readVolume(path);
    const volume = { ...(spacing && { spacing }), ...scan, image: normalised(scan.image) };
    const { labels } = await trainer.predict(volume, "pcsw", precision);
    const stem = `${out}/${volume.id}`;
    await writeNifti(`${stem}.nii.gz`, labels, header ?? plainHeader(volume));
    await drawOverlays(`${stem}.png`, volume, labels, config.data.classes);
    const note = replaced > 0 ? `; ${replaced} voxels were no finite numbers, taken as 0` : "";
    console.log(
      `${path} -> ${stem}.nii.gz (${amounts(config.data.classes, labels, volume)}${note})`,
    );
  }
  return 0;
}

async function findScans(input: string): Promise<string[]> {
  const scans: string[] = [];
  try {
    if (!(await Deno.stat(input)).isDirectory) return [input];
    for await (const { name, isFile } of Deno.readDir(input)) {
      if (isFile && SCAN.test(name)) scans.push(`${input.replace(/(?<=.)\/+$/, "")}/${name}`);
    }
  } catch (error) {
    throw new UserError(`Cannot read ${input}: ${ioReason(error)}.`);
  }
  if (scans.length === 0) throw new UserError(`${input} has no .nii, .nii.gz or .h5 file.`);
  scans.sort();
  const taken = new Map<string, string>();
  for (const path of scans) {
    const other = taken.get(volumeId(path));
    if (other) throw new UserError(`${other} and ${path} would both be written to one file.`);
    taken.set(volumeId(path), path);
  }
  return scans;
}

/** An input must not be overwritten by its labels. */
async function requireElsewhere(out: string, scans: readonly string[]): Promise<void> {
  const target = await Deno.realPath(out);
  for (const path of scans) {
    if (await Deno.realPath(path.replace(/[^/\\]+$/, "") || ".") !== target) continue;
    throw new UserError(`${path} lies in the folder ${out}; give another --out.`);
  }
}

function withoutVolumes({ name, classes }: Pick<DataSet, "name" | "classes">): DataSet {
  const none = { labelled: [], unlabelled: [], validation: [], test: [] };
  return { name, classes, ...none, fingerprint: () => Promise.resolve("") };
}

/** To 0 ... 1 over the volume, as training data are. */
function normalised(image: Float32Array): Float32Array {
  let [low, high] = [Infinity, -Infinity];
  for (const value of image) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const scale = high > low ? 1 / (high - low) : 0;
  return image.map((value) => (value - low) * scale);
}

function amounts(
  classes: readonly string[],
  labels: Uint8Array,
  { spacing }: Pick<FileVolume, "spacing">,
): string {
  const counts = new Uint32Array(256);
  for (const label of labels) counts[label]++;
  return classes.map((name, i) => {
    const voxels = counts[i + 1];
    if (!spacing) return `${name} ${voxels} voxels`;
    return `${name} ${(voxels * spacing[0] * spacing[1] * spacing[2] / 1000).toFixed(1)} ml`;
  }).join(", ");
}

/** `deno task eval` from its options to its exit code. */
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import { cli, folderPath, parseOptions, wholeNumber } from "../commands/cli.ts";
import type { DataSet, Spacing } from "../data/dataset.ts";
import { requirePrecision } from "../precision.ts";
import { type DataIdentity, PHANTOM, type RunConfig } from "./config.ts";
import { openData } from "./data.ts";
import { checkpointOption, HALF_PRECISION, precisionOption, voxelSpacing } from "./options.ts";
import { ProgressLine, standardError, type Terminal } from "./progress.ts";
import { report } from "./report.ts";
import { type CheckpointName, RunDirectory } from "./run_dir.ts";
import type { CreateTrainer } from "./train_run.ts";

/** Options of `deno task eval`. */
export interface EvalFlags {
  /** The folder of the run. */
  readonly run: string;
  readonly data?: string;
  readonly spacing?: Spacing;
  readonly evalLimit?: number;
  readonly checkpoint?: CheckpointName;
  readonly precision?: Precision;
  readonly out?: string;
}

/**
 * Parses the arguments of `deno task eval`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parseEvalFlags(args: readonly string[]): EvalFlags | undefined {
  const program = cli("eval", "Measures a run's checkpoint on test volumes.")
    .argument("<run>", "folder of the run")
    .option("--data <source>", `${PHANTOM} or a folder with a data set (default: that of the run)`)
    .option("--spacing <z,y,x>", "voxel spacing in mm where the files store none", voxelSpacing)
    .option("--eval-limit <n>", "most volumes (default: as in the run)", wholeNumber(1))
    .addOption(checkpointOption())
    .addOption(precisionOption(HALF_PRECISION))
    .option(
      "--out <dir>",
      "folder for results.json and overlays (default: none are written)",
      folderPath,
    );
  const options = parseOptions<Omit<EvalFlags, "run"> & Record<string, unknown>>(program, args);
  return options && { ...options, run: program.args[0] };
}

/**
 * Prints the tables of a checkpoint.
 *
 * @returns the exit code.
 * @throws {UserError} where an option, the run or the data is wrong.
 */
export async function runEvaluation(
  flags: EvalFlags,
  create: CreateTrainer,
  terminal: Terminal = standardError(),
): Promise<number> {
  await requirePrecision(flags.precision);
  const directory = await RunDirectory.open(flags.run);
  const config = await directory.readConfig();
  const name = flags.checkpoint ?? await directory.preferred();
  const checkpoint = await directory.loadCheckpoint(name, config);
  const data = await openEvaluated(flags, config);
  using progress = new ProgressLine(terminal);
  // Without training volumes, the trainer has none to read.
  const trainer = await create(config.train, { ...data, labelled: [], unlabelled: [] });
  await trainer.load(checkpoint.trainer);
  const limit = flags.evalLimit ?? config.schedule.evalLimit;
  const { out, precision = "f32" } = flags;
  await report({
    ...{ trainer, data, name, checkpoint, precision, limit, progress },
    ...(out && { out }),
  });
  return 0;
}

async function openEvaluated(flags: EvalFlags, config: RunConfig): Promise<DataSet> {
  const spacing = flags.spacing ?? config.data.spacing;
  if (flags.data === undefined) {
    const data = await openData({ ...config.data, spacing });
    await requireUnchanged(data, config.data);
    return data;
  }
  const data = await openData({ source: flags.data, labeled: null, spacing });
  const [ours, theirs] = [config.data.classes.join(", "), data.classes.join(", ")];
  if (ours !== theirs) {
    throw new UserError(`${flags.data} has the classes ${theirs}, but ${flags.run} has ${ours}.`);
  }
  return data;
}

async function requireUnchanged(
  data: DataSet,
  { hash, source }: DataIdentity & { source: string },
) {
  const now = await data.fingerprint();
  if (now === hash) return;
  throw new UserError(
    `The data of the run have changed: their hash is ${now} and was ${hash}; to measure on them as ` +
      `they are now, give --data ${source}.`,
  );
}

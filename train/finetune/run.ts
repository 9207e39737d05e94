/** `deno task finetune` from its options to its exit code. */
import { saveWeights } from "../../engine/checkpoint/mod.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { MetricsLog } from "../run/metrics_log.ts";
import { ProgressLine, standardError, type Terminal } from "../run/progress.ts";
import { weightsMetadata } from "../run/published_weights.ts";
import { RunDirectory, writeJson } from "../run/run_dir.ts";
import { INTERRUPTED, type StopRequest, watchSignals } from "../run/signals.ts";
import {
  NO_VALIDATION,
  restoreBest,
  stoppedText,
  train,
  type TrainingContext,
} from "../run/training.ts";
import type { Sam2 } from "../../model/sam2/sam2.ts";
import type { TuneConfig } from "./config.ts";
import { openTuneData, type TuneData } from "./data.ts";
import type { DiceTable } from "./dice_table.ts";
import { type Choices, choose, type TuneCommand } from "./options.ts";
import { frameCount } from "./sampling.ts";
import { modelOf, startModel } from "./start.ts";
import { Tuner } from "./tuner.ts";
import { measureTracking, PROTOCOL } from "./validation.ts";

/** A run that is ready to begin or to go on. */
interface Prepared {
  readonly directory: RunDirectory;
  readonly config: TuneConfig;
  readonly data: TuneData;
  readonly model: Sam2;
  /** Where to go on; absent in a new run. */
  readonly checkpoint?: Checkpoint<TuneConfig>;
}

/** Makes a trainer at step 0. */
export type CreateTuner = typeof Tuner.create;

interface Tools {
  readonly progress: ProgressLine;
  readonly stop: StopRequest;
}

/**
 * Tunes a model on a folder of data, or continues a run, and measures it where there are validation
 * data; weights and metrics end up in the folder of the run.
 *
 * @returns the exit code: 0, or 130 where a signal came.
 * @throws {UserError} where an option, the data, the checkpoint or the run to continue is wrong, or a
 * loss is not finite.
 */
export async function runTuning(
  command: TuneCommand,
  terminal: Terminal = standardError(),
  create: CreateTuner = Tuner.create,
): Promise<number> {
  using stop = await watchSignals(
    "Stopping: the step in progress is finished and saved first; a second signal ends at once.",
  );
  using progress = new ProgressLine(terminal);
  const { resume } = command.flags;
  const prepared = resume === undefined
    ? await prepareNew(command)
    : await prepareResumed(resume, command);
  const { directory, config, data, model, checkpoint } = prepared;
  progress.say(describe(prepared));
  // Where the memory does not suffice, the folder stays empty and can be used again.
  const trainer = await create(model, config.train, data.training);
  using log = await MetricsLog.open(directory.metrics, checkpoint?.step ?? 0);
  await directory.removeLeftovers();
  await writeJson(directory.config, config);
  if (checkpoint) await trainer.load(checkpoint.trainer);
  const tools = { progress, stop };
  let latest: { readonly step: number; readonly table: DiceTable } | undefined;
  const measure = async () => {
    const step = trainer.position;
    if (latest?.step === step) return latest.table;
    const table = await measured(prepared, tools);
    latest = table && { step, table };
    return table;
  };
  const validation = {
    title: "mean Dice on validation",
    measure: async () => (await measure())?.mean(),
  };
  const context: TrainingContext<TuneConfig> = {
    trainer,
    config,
    directory,
    log,
    ...tools,
    ...(data.validation.length > 0 && { validation }),
  };
  return await tuneAndMeasure(context, prepared, measure);
}

async function tuneAndMeasure(
  context: TrainingContext<TuneConfig>,
  { directory, data, model, checkpoint }: Prepared,
  measure: () => Promise<DiceTable | undefined>,
): Promise<number> {
  const { trainer, progress } = context;
  const { validation, finished } = await train(context, checkpoint?.validation ?? NO_VALIDATION);
  const stopped = () => {
    progress.say(stoppedText(context));
    return INTERRUPTED;
  };
  if (!finished) return stopped();
  const name = await restoreBest(context, validation);
  if (data.validation.length > 0) {
    const table = await measure();
    if (!table) return stopped();
    const { position: step } = trainer;
    const path = directory.checkpoint(name);
    progress[Symbol.dispose]();
    console.log(`Dice on validation of ${path} (step ${step}); ${PROTOCOL}:\n\n${table}\n`);
    const results = { checkpoint: `${name}.safetensors`, step, protocol: PROTOCOL };
    await writeJson(`${directory.path}/results.json`, {
      ...results,
      mean: table.mean(),
      objects: table.rows(),
    });
  }
  const weights = `${directory.path}/weights.safetensors`;
  await saveWeights(model, weights, weightsMetadata(model.config.imageSize));
  console.log(`Weights of step ${trainer.position} are in ${weights}.`);
  return 0;
}

/** The Dice of the validation data; `undefined` where a stop was requested meanwhile. */
function measured(
  { model, data: { validation, labelNames }, config }: Prepared,
  { progress, stop }: Tools,
): Promise<DiceTable | undefined> {
  return measureTracking(model, {
    sequences: validation.slice(0, config.schedule.evalLimit ?? undefined),
    labelNames,
    stop,
    onSequence: (done, total) => progress.update(`validation: ${done}/${total} sequences`),
  });
}

function describe({ directory, config, data, checkpoint }: Prepared): string {
  const { model, size, steps } = config.train;
  const from = checkpoint ? `going on after step ${checkpoint.step}` : "a new run";
  const { training, validation } = data;
  const held = validation.length > 0 ? `, ${validation.length} for validation` : "";
  return `${directory.path}, ${from}: ${model} at ${size} px, ${steps} steps; ` +
    `${training.length} sequences with ${frameCount(training)} frames${held}.`;
}

async function prepareNew(command: TuneCommand): Promise<Prepared> {
  const choices = choose(command);
  const data = await openTuneData(choices);
  const { model, name } = await startModel(command.flags, choices.train);
  const config = tuneConfig(choices, data.hash, { model: name, size: model.config.imageSize });
  const directory = await RunDirectory.create(command.flags.out, "finetune");
  return { directory, config, data, model };
}

async function prepareResumed(path: string, command: TuneCommand): Promise<Prepared> {
  const directory = await RunDirectory.open(path);
  const before = await directory.readConfig<TuneConfig>("finetune");
  const choices = choose(command, before);
  const { model = before.train.model, size = before.train.size } = choices.train;
  const data = await openTuneData(choices);
  const config = tuneConfig(choices, data.hash, { model, size });
  const checkpoint = await directory.loadCheckpoint("last", config);
  return { directory, config, data, model: modelOf(model, size), checkpoint };
}

function tuneConfig(
  { data, train, schedule }: Choices,
  hash: string,
  known: Pick<TuneConfig["train"], "model" | "size">,
): TuneConfig {
  const { source, holdOut, fold } = data;
  return {
    command: "finetune",
    data: { source, holdOut, fold, hash },
    train: { ...train, ...known },
    schedule,
  };
}

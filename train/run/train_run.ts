/** `deno task train` from its options to its exit code. */
import type { Module } from "../../engine/nn/mod.ts";
import type { DataSet } from "../data/dataset.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { RunConfig } from "./config.ts";
import { checkVolumes, identify, openData, patients, requireUnlabelled } from "./data.ts";
import { evaluate, meanDice } from "./evaluation.ts";
import { type Choices, choose, defaults, runConfig, type TrainFlags } from "./options.ts";
import { MetricsLog } from "./metrics_log.ts";
import { StepProfiler } from "./profile.ts";
import { ProgressLine, standardError, type Terminal } from "./progress.ts";
import { report } from "./report.ts";
import { RunDirectory, writeJson } from "./run_dir.ts";
import { INTERRUPTED, type StopRequest, watchSignals } from "./signals.ts";
import {
  type LoopTrainer,
  NO_VALIDATION,
  restoreBest,
  stoppedText,
  train,
  type TrainingContext,
  type Validation,
} from "./training.ts";
import { isOfSam20, startFrom } from "./start_weights.ts";
import type { Trainer, TrainOptions } from "../trainer.ts";

/** What a run needs of its trainer. */
export type RunTrainer = LoopTrainer & Pick<Trainer, "predict">;

/** Makes a trainer at step 0. */
export type CreateTrainer = (
  options: TrainOptions,
  data: DataSet,
  start?: (model: Module) => Promise<void>,
) => Promise<RunTrainer>;

interface Tools {
  readonly progress: ProgressLine;
  readonly stop: StopRequest;
}

/** A run that is ready to begin or to go on. */
interface Prepared {
  readonly directory: RunDirectory;
  readonly config: RunConfig;
  readonly data: DataSet;
  /** Where to go on; absent in a new run. */
  readonly checkpoint?: Checkpoint;
}

/**
 * Trains a new run or continues one, then measures it on the test set.
 *
 * @returns the exit code: 0, or 130 where a signal came.
 * @throws {UserError} where an option, the data or the run to continue is wrong.
 */
export async function runTraining(
  flags: TrainFlags,
  create: CreateTrainer,
  terminal: Terminal = standardError(),
): Promise<number> {
  using stop = await watchSignals(
    "Stopping: the step in progress is finished and saved first; a second signal ends at once.",
  );
  using progress = new ProgressLine(terminal);
  const tools = { progress, stop };
  const profiler = flags.profile === undefined
    ? undefined
    : await StepProfiler.create(flags.profile);
  const prepared = flags.resume === undefined
    ? await prepareNew(flags, tools)
    : await prepareResumed(flags.resume, flags, tools);
  if (prepared === undefined) {
    progress.say("Stopped before the first step; there is nothing to save.");
    return INTERRUPTED;
  }
  const { directory, config, data, checkpoint } = prepared;
  progress.say(describe(prepared));
  const { start } = config.train;
  const begin = start !== undefined && !checkpoint
    ? (model: Module) => startFrom(model, start)
    : undefined;
  // Where the memory does not suffice, the folder stays empty and can be used again.
  const trainer = await create(config.train, data, begin);
  using log = await MetricsLog.open(directory.metrics, checkpoint?.step ?? 0);
  await directory.removeLeftovers();
  await writeJson(directory.config, config);
  if (checkpoint) await trainer.load(checkpoint.trainer);
  const context: RunContext = {
    trainer,
    validation: promptFree(trainer, data, config, tools),
    config,
    directory,
    log,
    progress,
    stop,
    ...(profiler && { profiler }),
  };
  return await trainAndMeasure(context, data, checkpoint);
}

interface RunContext extends TrainingContext {
  readonly trainer: RunTrainer;
}

/** Validation without prompts from outside. */
function promptFree(
  trainer: RunTrainer,
  data: DataSet,
  { data: { classes }, schedule: { evalLimit } }: RunConfig,
  { progress, stop }: Tools,
): Validation {
  return {
    title: "prompt-free mean Dice on validation",
    measure: async () => {
      const tables = await evaluate(trainer, {
        volumes: data.validation.slice(0, evalLimit ?? undefined),
        classes,
        modes: ["pcsw"],
        stop,
        onVolume: (done, total) => progress.update(`validation: ${done}/${total} volumes`),
      });
      return tables?.pcsw && meanDice(tables.pcsw);
    },
  };
}

async function trainAndMeasure(
  context: RunContext,
  data: DataSet,
  checkpoint: Checkpoint | undefined,
): Promise<number> {
  const { trainer, config, directory, progress, stop } = context;
  const { validation, finished } = await train(context, checkpoint?.validation ?? NO_VALIDATION);
  if (!finished) return stopped(context);
  const name = await restoreBest(context, validation);
  const done = await report({
    trainer,
    data,
    name,
    checkpoint: { step: trainer.position, validation },
    limit: config.schedule.evalLimit,
    out: directory.path,
    progress,
    stop,
  });
  if (!done) return stopped(context);
  console.log(`Checkpoints, metrics, results and overlays are in ${directory.path}.`);
  return 0;
}

function stopped(context: TrainingContext): number {
  context.progress.say(stoppedText(context));
  return INTERRUPTED;
}

function describe({ directory, config, data, checkpoint }: Prepared): string {
  const { method, model, size, steps } = config.train;
  const from = checkpoint ? `going on after step ${checkpoint.step}` : "a new run";
  return `${directory.path}, ${from}: ${method}, model ${model} at ${size} px, ${steps} steps; ` +
    `${data.name} with ${patients(data.labelled)} labelled and ${patients(data.unlabelled)} ` +
    `unlabelled training patients.`;
}

async function prepareNew(flags: TrainFlags, tools: Tools): Promise<Prepared | undefined> {
  const choices = choose(defaults, flags);
  const { start } = choices.train;
  const older = start !== undefined && await isOfSam20(start);
  const train = { ...choices.train, ...(older && { samVersion: "2.0" as const }) };
  const opened = await openChecked({ ...choices, train }, tools);
  if (opened === undefined) return undefined;
  const { data: { name }, train: { method, seed } } = opened.config;
  return {
    ...opened,
    directory: await RunDirectory.create(flags.out, `${name}-${method}-${seed}`),
  };
}

async function prepareResumed(
  path: string,
  flags: TrainFlags,
  tools: Tools,
): Promise<Prepared | undefined> {
  const directory = await RunDirectory.open(path);
  const opened = await openChecked(choose(await directory.readConfig(), flags), tools);
  if (opened === undefined) return undefined;
  const checkpoint = await directory.loadCheckpoint("last", opened.config);
  return { ...opened, directory, checkpoint };
}

/** Opens and reads the data; `undefined` where a stop was requested meanwhile. */
async function openChecked(
  choices: Choices,
  { progress, stop }: Tools,
): Promise<Pick<Prepared, "config" | "data"> | undefined> {
  const data = await openData(choices.data);
  requireUnlabelled(data, choices.train.method);
  const all = [...data.labelled, ...data.unlabelled, ...data.validation, ...data.test];
  const complete = await checkVolumes(all, stop, (done, total) => {
    progress.update(`reading ${data.name}: ${done}/${total} volumes`);
  });
  return complete ? { data, config: runConfig(choices, await identify(data)) } : undefined;
}

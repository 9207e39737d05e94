/** The loop of a run: steps, validations and checkpoints, until the last step or a signal. */
import { UserError } from "../../engine/errors.ts";
import { runtime } from "../../engine/evaluate.ts";
import { type Checkpoint, saveCheckpoint, type ValidationState } from "./checkpoint.ts";
import type { AnyRunConfig, RunConfig } from "./config.ts";
import type { MetricsLog } from "./metrics_log.ts";
import { Pace, type ProgressLine } from "./progress.ts";
import type { StepProfiler } from "./profile.ts";
import type { CheckpointName, RunDirectory } from "./run_dir.ts";
import type { StopRequest } from "./signals.ts";
import type { StepReport, Trainer } from "../trainer.ts";

/** What the loop needs of a trainer. */
export type LoopTrainer = Pick<Trainer, "step" | "position" | "save" | "load">;

/** How a run is validated. */
export interface Validation {
  /** What is measured, as in "mean Dice on validation". */
  readonly title: string;
  /** Measures the trainer's weights, 0 to 1; `undefined` where a stop was requested meanwhile. */
  measure(): Promise<number | undefined>;
}

/** What the loop works with. */
export interface TrainingContext<Config extends AnyRunConfig = RunConfig> {
  readonly trainer: LoopTrainer;
  readonly config: Config;
  /** Left out where there is nothing to validate on. */
  readonly validation?: Validation;
  readonly directory: RunDirectory;
  readonly log: MetricsLog;
  readonly progress: ProgressLine;
  readonly stop: StopRequest;
  /** Traces one of the steps. */
  readonly profiler?: StepProfiler;
}

/** No validation yet. */
export const NO_VALIDATION: ValidationState = { step: 0, best: null };

/**
 * Trains from where `trainer` stands to the last step. A validation is due after every `valEvery`
 * steps and after the last one; the best one's checkpoint is kept apart. Where this ends, the last
 * checkpoint is on the disk.
 *
 * @param validation how far the validations were when the trainer's checkpoint was made.
 * @returns how far they are at the end, and whether all steps are done or a stop was requested.
 * @throws {UserError} where a loss is no longer finite; the checkpoints stay as they were.
 * @throws what makes a step fail, once what it has left intact is saved.
 */
export async function train<Config extends AnyRunConfig>(
  context: TrainingContext<Config>,
  validation: ValidationState,
): Promise<{ readonly validation: ValidationState; readonly finished: boolean }> {
  const { trainer, config: { train: { steps }, schedule }, stop } = context;
  const resumedAt = trainer.position;
  const pace = new Pace();
  let saved = resumedAt > 0 ? resumedAt : -1;
  let stored = resumedAt;
  const save = async () => {
    if (saved === trainer.position) return;
    await saveCheckpoint(context.directory.checkpoint("last"), await snapshot(context, validation));
    saved = stored = trainer.position;
  };
  for (;;) {
    const { position } = trainer;
    const last = position >= steps;
    const due = context.validation && validationDue(position, steps, schedule.valEvery);
    if (due && validation.step < position) {
      const next = await validate(context, context.validation, validation);
      if (next === undefined) break;
      validation = next;
      saved = -1;
    }
    if (last || stop.requested) break;
    if (position > 0 && position % schedule.checkpointEvery === 0) await save();
    try {
      await step(context, pace);
    } catch (error) {
      context.progress.keep();
      // What stopped the step is the news; that saving failed as well must not take its place.
      if (position > 0 && await isIntact(trainer, position)) await save().catch(() => {});
      context.progress.say(failedText(context, position, stored));
      throw error;
    }
  }
  context.progress.keep();
  await save();
  return { validation, finished: trainer.position >= steps && !stop.requested };
}

/** Whether a step that failed has left everything as it was before: halfway, nothing can be trusted. */
async function isIntact(trainer: LoopTrainer, position: number): Promise<boolean> {
  return trainer.position === position && (await runtime()).failure === undefined;
}

function failedText(
  { directory, config }: TrainingContext<AnyRunConfig>,
  position: number,
  stored: number,
): string {
  if (stored === 0) return `Step ${position + 1} failed; nothing is saved.`;
  return `Step ${position + 1} failed; step ${stored} is saved, go on with: ` +
    `deno task ${config.command ?? "train"} --resume ${directory.path}`;
}

function validationDue(position: number, steps: number, every: number): boolean {
  return every > 0 && position > 0 && (position % every === 0 || position >= steps);
}

/** The sentence for a run that a signal has ended, and how to go on. */
export function stoppedText(
  { trainer, config, directory }: TrainingContext<AnyRunConfig>,
): string {
  return `Stopped after step ${trainer.position} of ${config.train.steps}, which is saved; go on ` +
    `with: deno task ${config.command ?? "train"} --resume ${directory.path}`;
}

/** Gives the trainer the weights of the best validation, where there was one; says which it has. */
export async function restoreBest<Config extends AnyRunConfig>(
  { trainer, config, directory }: TrainingContext<Config>,
  { best }: ValidationState,
): Promise<CheckpointName> {
  if (best && best.step !== trainer.position) {
    const checkpoint = await directory.loadCheckpoint("best", config);
    await trainer.load(checkpoint.trainer);
  }
  return best ? "best" : "last";
}

async function snapshot<Config extends AnyRunConfig>(
  { trainer, config }: TrainingContext<Config>,
  validation: ValidationState,
): Promise<Checkpoint<Config>> {
  return { config, step: trainer.position, validation, trainer: await trainer.save() };
}

async function step(context: TrainingContext<AnyRunConfig>, pace: Pace) {
  const { trainer, config, log, progress, profiler } = context;
  const last = trainer.position + 1 >= config.train.steps;
  const { report, written } = profiler
    ? await profiler.step(trainer, last)
    : { report: await trainer.step() };
  const { step, losses, images, learningRate, milliseconds, scaler } = report;
  const broken = Object.entries(losses).find(([, value]) => !Number.isFinite(value));
  if (broken) {
    throw new UserError(
      `The loss "${broken[0]}" is ${broken[1]} at step ${step}; try a smaller --lr than ` +
        `${config.train.learningRate}.`,
    );
  }
  pace.add(milliseconds.total, images);
  await log.add({
    ...{ step, ...losses, learningRate, images, milliseconds: milliseconds.total },
    ...scaler && { lossScale: scaler.scale, skippedSteps: scaler.skipped },
  });
  progress.update(progressText(report, config.train.steps, pace));
  if (written) {
    progress.keep();
    progress.say(written);
  }
}

function progressText({ step, losses }: StepReport, steps: number, pace: Pace): string {
  const values = Object.entries(losses).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
  const speed = `${pace.imagesPerSecond.toFixed(1)} images/s`;
  return [`step ${step}/${steps}`, ...values, speed, `ETA ${pace.eta(steps - step)}`].join("  ");
}

/** Validates at the trainer's position; `undefined` where a stop was requested meanwhile. */
async function validate(
  context: TrainingContext<AnyRunConfig>,
  { title, measure }: Validation,
  before: ValidationState,
): Promise<ValidationState | undefined> {
  const { trainer, directory, log, progress } = context;
  progress.keep();
  const dice = await measure();
  if (dice === undefined) return undefined;
  const step = trainer.position;
  await log.add({ step, validationDice: dice });
  const better = before.best === null || dice > before.best.dice;
  const validation = { step, best: better ? { step, dice } : before.best };
  progress.say(
    `step ${step}: ${title} ${(100 * dice).toFixed(2)} %` +
      (better ? ", the best so far" : ""),
  );
  if (better) {
    await saveCheckpoint(directory.checkpoint("best"), await snapshot(context, validation));
  }
  return validation;
}

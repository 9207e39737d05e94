/** `deno task finetune` from its options to its exit code. */
import { loadWeights, openCheckpoint, saveWeights } from "../../engine/checkpoint/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { initialise } from "../../engine/nn/mod.ts";
import { configOf } from "../../model/checkpoint_config.ts";
import { type ConfigName, CONFIGS, type Sam2Config } from "../../model/config.ts";
import { Sam2 } from "../../model/sam2/sam2.ts";
import { DataError } from "../data/errors.ts";
import { openImageFolder } from "../data/image_folder.ts";
import { openNnunet } from "../data/nnunet.ts";
import type { SegmentedSequence } from "../data/sequence.ts";
import { MetricsLog } from "../run/metrics_log.ts";
import { Pace, ProgressLine, standardError, type Terminal } from "../run/progress.ts";
import { publishedWeights } from "../run/published_weights.ts";
import { RunDirectory, writeJson } from "../run/run_dir.ts";
import { INTERRUPTED, type StopRequest, watchSignals } from "../run/signals.ts";
import type { TuneCommand, TuneFlags } from "./options.ts";
import { frameCount } from "./sampling.ts";
import { type TuneOptions, Tuner, type TuneReport } from "./tuner.ts";

/**
 * Tunes a model on a folder of data; weights and metrics end up in the folder of the run.
 *
 * @returns the exit code: 0, or 130 where a signal came.
 * @throws {UserError} where an option, the data or the checkpoint is wrong, or a loss is not finite.
 */
export async function runTuning(
  { data, flags }: TuneCommand,
  terminal: Terminal = standardError(),
): Promise<number> {
  using stop = await watchSignals(
    "Stopping: the step in progress is finished and saved first; a second signal ends at once.",
  );
  using progress = new ProgressLine(terminal);
  const sequences = await openSequences(data);
  const { model, name } = await startModel(flags);
  const directory = await RunDirectory.create(flags.out, "finetune");
  const options = tuneOptions(flags, model.config.imageSize);
  await writeJson(directory.config, { data, model: name, ...flags, ...options });
  progress.say(
    `${directory.path}: ${name} at ${options.size} px, ${options.steps} steps; ` +
      `${sequences.length} sequences with ${frameCount(sequences)} frames.`,
  );
  const tuner = await Tuner.create(model, options, sequences);
  using log = await MetricsLog.open(directory.metrics, 0);
  const path = directory.checkpoint("last");
  const every = flags.checkpointEvery;
  await tune(tuner, options, { log, progress, stop, every, save: () => saveWeights(model, path) });
  console.log(`Weights after step ${tuner.position} of ${options.steps} are in ${path}.`);
  return tuner.position < options.steps ? INTERRUPTED : 0;
}

interface Loop {
  readonly log: MetricsLog;
  readonly progress: ProgressLine;
  readonly stop: StopRequest;
  /** Steps between checkpoints. */
  readonly every: number;
  save(): Promise<void>;
}

/** Steps until the last one or a signal; where this ends, the weights are on the disk. */
async function tune(tuner: Tuner, options: TuneOptions, loop: Loop): Promise<void> {
  const { log, progress, stop, every, save } = loop;
  const { steps, batch } = options;
  const pace = new Pace();
  while (tuner.position < steps && !stop.requested) {
    const report = await tuner.step();
    requireFinite(report, options.learningRate);
    const { step, losses, learningRate, objects, milliseconds } = report;
    pace.add(milliseconds, batch);
    await log.add({ step, ...losses, learningRate, objects, milliseconds });
    const values = Object.entries(losses).map(([name, x]) => `${name} ${x.toPrecision(4)}`);
    const left = `ETA ${pace.eta(steps - step)}`;
    progress.update([`step ${step}/${steps}`, ...values, left].join("  "));
    if (step % every === 0 && step < steps) await save();
  }
  progress.keep();
  await save();
}

function requireFinite({ losses, step }: TuneReport, rate: number): void {
  const broken = Object.entries(losses).find(([, value]) => !Number.isFinite(value));
  if (!broken) return;
  throw new UserError(
    `The loss "${broken[0]}" is ${broken[1]} at step ${step}; try a smaller --lr than ${rate}.`,
  );
}

function tuneOptions(flags: TuneFlags, size: number): TuneOptions {
  const { steps, batch, frames, objects, clicks, layerDecay, weightDecay, clip, seed } = flags;
  return {
    size,
    steps,
    batch,
    frames,
    objects,
    clicks,
    layerDecay,
    weightDecay,
    clip,
    seed,
    learningRate: flags.lr,
    frozen: flags.freeze,
  };
}

/** The data in a folder, whichever of the layouts it has. */
async function openSequences(folder: string): Promise<SegmentedSequence[]> {
  const there = (name: string) => Deno.stat(`${folder}/${name}`).then(() => true, () => false);
  if (await there("dataset.json")) return await openNnunet(folder);
  if (await there("images")) return await openImageFolder(folder);
  throw new DataError(
    `${folder} has neither a dataset.json (nnU-Net, Medical Segmentation Decathlon) nor a folder ` +
      `"images" with "masks" beside it.`,
  );
}

/** The model that the options name, with the weights of the checkpoint where one is given. */
async function startModel(flags: TuneFlags): Promise<{ model: Sam2; name: ConfigName }> {
  const { checkpoint } = flags;
  if (checkpoint === undefined) {
    const name = named(flags.model) ?? "nano";
    const model = new Sam2(sized(name, flags));
    await initialise(model, flags.randomWeights!);
    return { model, name };
  }
  using file = await openCheckpoint(checkpoint);
  const tensors = publishedWeights(file);
  const name = named(flags.model) ?? configOf(tensors);
  if (!name) {
    throw new UserError(`${checkpoint} is like none of the known models: choose one with --model.`);
  }
  const model = new Sam2(sized(name, flags));
  await loadWeights(model, { ...file, name: checkpoint, tensors });
  return { model, name };
}

function named(model: TuneFlags["model"]): ConfigName | undefined {
  return model === undefined || model === "nano" ? model : `sam2.1_hiera_${model}`;
}

function sized(name: ConfigName, { size }: TuneFlags): Sam2Config {
  const config: Sam2Config = CONFIGS[name];
  return { ...config, imageSize: size ?? config.imageSize };
}

/** Options of `deno task train`, and what they choose. */
import { resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import { type SssConfig, sssConfig, sssDefaults } from "../../model/sss/config.ts";
import { cli, decimal, folderPath, parseOptions, wholeNumber } from "../commands/cli.ts";
import type { Spacing } from "../data/dataset.ts";
import { PART_NAMES, partNames } from "../finetune/part_option.ts";
import type { PartName } from "../finetune/parts.ts";
import {
  type DataChoice,
  type DataIdentity,
  PHANTOM,
  type RunConfig,
  type Schedule,
} from "./config.ts";
import type { Method, TrainOptions } from "../trainer.ts";

/** Options as given; what was not given is absent. */
export interface TrainFlags {
  readonly data?: string;
  readonly labeled?: number;
  readonly method?: Method;
  readonly model?: TrainOptions["model"];
  readonly size?: number;
  readonly steps?: number;
  readonly seed?: number;
  readonly batch?: number;
  readonly unlabelledBatch?: number;
  readonly accumulate?: number;
  readonly lr?: number;
  readonly spacing?: Spacing;
  /** Weights to start from. */
  readonly checkpoint?: string;
  readonly freeze?: readonly PartName[];
  readonly gradientCheckpointing?: boolean;
  readonly precision?: Precision;
  readonly out?: string;
  readonly resume?: string;
  readonly evalLimit?: number;
  readonly valEvery?: number;
  readonly checkpointEvery?: number;
  /** File for the trace of a step. */
  readonly profile?: string;
  /** Fields of the SSS configuration that differ from its defaults. */
  readonly sss?: Partial<SssConfig>;
}

/** What the options choose before the data are opened. */
export interface Choices {
  /** Without `labeled`, the data decide. */
  readonly data: Omit<DataChoice, "labeled"> & { readonly labeled: number | null };
  readonly train: TrainOptions;
  readonly schedule: Schedule;
}

const METHODS: readonly Method[] = ["sss", "supervised", "fixmatch"];
const MODELS: readonly TrainOptions["model"][] = ["nano", "t", "s", "b+", "l"];

/** What a new run starts from. */
export const defaults: Choices = {
  data: { source: PHANTOM, labeled: null, spacing: null },
  train: {
    method: "sss",
    model: "nano",
    size: 128,
    seed: 0,
    steps: 80,
    batchLabelled: 4,
    batchUnlabelled: 2,
    learningRate: 2e-3,
    weightDecay: 0.01,
    clip: 1,
    sss: sssConfig(),
  },
  schedule: { valEvery: 0, checkpointEvery: 50, evalLimit: null },
};

/**
 * Parses the arguments of `deno task train`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parseTrainFlags(args: readonly string[]): TrainFlags | undefined {
  const { data, train, schedule } = defaults;
  const program = cli(
    "train",
    "Trains a model, or continues a run, and measures it on test volumes.",
  )
    .allowExcessArguments(false)
    .option("--data <source>", `${PHANTOM} or a folder with a data set (default: ${data.source})`)
    .option(
      "--labeled <n>",
      "labelled training patients (default: a tenth; 4 of the phantom's 20)",
      wholeNumber(1),
    )
    .addOption(
      choice("--method <name>", `${METHODS.join(", ")} (default: ${train.method})`, METHODS),
    )
    .addOption(choice("--model <name>", `${MODELS.join(", ")} (default: ${train.model})`, MODELS))
    .option("--size <px>", `side of the network's input (default: ${train.size})`, imageSize)
    .option("--steps <n>", `optimiser steps (default: ${train.steps})`, wholeNumber(1))
    .option("--seed <n>", `seed of everything random (default: ${train.seed})`, wholeNumber(0))
    .option(
      "--batch <n>",
      `labelled slices of a step (default: ${train.batchLabelled})`,
      wholeNumber(1),
    )
    .option(
      "--unlabelled-batch <n>",
      `unlabelled slices of a step, each seen in three views ` +
        `(default: ${train.batchUnlabelled})`,
      wholeNumber(1),
    )
    .option(
      "--accumulate <n>",
      "micro-batches of a step, each of --batch and --unlabelled-batch slices; batch norm and " +
        "Dice see one at a time",
      wholeNumber(1),
    )
    .option("--checkpoint <file>", "start from SAM-2 weights of --model: .pt, .pth, .safetensors")
    .option("--freeze <parts>", `parts that keep them: ${PART_NAMES.join(",")}`, partNames)
    .option("--gradient-checkpointing", "needs less memory and more time")
    .addOption(precisionOption(MIXED_PRECISION))
    .option("--lr <x>", `learning rate (default: ${train.learningRate})`, decimal(0))
    .option(
      "--sss <field=value>",
      "a choice of the method, as in --sss conf=0.8; may be repeated",
      sssField,
    )
    .option("--spacing <z,y,x>", "voxel spacing in mm where the files store none", voxelSpacing)
    .option("--out <dir>", "folder of the run (default: runs/DATA-METHOD-SEED-NUMBER)", folderPath)
    .option("--resume <dir>", "continue the run in this folder")
    .option("--profile <file>", "write a Chrome trace of one step, to open in Perfetto")
    .option("--eval-limit <n>", "most volumes of a validation or table", wholeNumber(1))
    .option(
      "--val-every <n>",
      `steps between validations, 0 for none (default: ${schedule.valEvery})`,
      wholeNumber(0),
    )
    .option(
      "--checkpoint-every <n>",
      `steps between checkpoints (default: ${schedule.checkpointEvery})`,
      wholeNumber(1),
    );
  const flags = parseOptions<TrainFlags & Record<string, unknown>>(program, args);
  if (flags?.resume !== undefined && flags.out !== undefined) {
    throw new UserError("--resume continues in the folder of the run; --out cannot go with it.");
  }
  if (flags?.resume !== undefined && flags.checkpoint !== undefined) {
    throw new UserError(
      "--resume goes on with the weights of the run; --checkpoint cannot go with it.",
    );
  }
  return flags;
}

/** `base` with what the options change. */
export function choose(base: Choices, flags: TrainFlags): Choices {
  const { data, train: { precision, ...train }, schedule } = base;
  const method = flags.method ?? train.method;
  const unlabelled = flags.unlabelledBatch ?? train.batchUnlabelled;
  return {
    data: {
      source: flags.data ?? data.source,
      labeled: flags.labeled ?? data.labeled,
      spacing: flags.spacing ?? data.spacing,
    },
    train: {
      ...train,
      method,
      model: flags.model ?? train.model,
      size: flags.size ?? train.size,
      seed: flags.seed ?? train.seed,
      steps: flags.steps ?? train.steps,
      batchLabelled: flags.batch ?? train.batchLabelled,
      batchUnlabelled: method === "supervised" ? 0 : unlabelled,
      learningRate: flags.lr ?? train.learningRate,
      ...(flags.accumulate && { accumulate: flags.accumulate }),
      ...(flags.freeze && { frozen: flags.freeze }),
      ...(flags.gradientCheckpointing && { gradientCheckpointing: true }),
      ...chosenPrecision(flags.precision ?? precision),
      ...(flags.checkpoint !== undefined && { start: resolve(flags.checkpoint) }),
      sss: flags.sss ? sssConfig({ ...train.sss, ...flags.sss }) : train.sss,
    },
    schedule: {
      valEvery: flags.valEvery ?? schedule.valEvery,
      checkpointEvery: flags.checkpointEvery ?? schedule.checkpointEvery,
      evalLimit: flags.evalLimit ?? schedule.evalLimit,
    },
  };
}

/** The configuration of a run, from its choices and the data that were found. */
export function runConfig(
  { data, train, schedule }: Choices,
  found: DataIdentity & Pick<DataChoice, "labeled">,
): RunConfig {
  // A run can then be continued from another folder.
  const source = data.source === PHANTOM ? data.source : resolve(data.source);
  return { data: { ...data, ...found, source }, train, schedule };
}

/** What f16 is in a training. */
export const MIXED_PRECISION = "mixed precision with a scaled loss";

/** What f16 is where nothing is trained. */
export const HALF_PRECISION = "activations stored in half precision";

/** The option that picks the precision. */
export function precisionOption(f16: string): Option {
  return choice("--precision <type>", `f32, or f16: ${f16} (default: f32)`, ["f32", "f16"]);
}

/** The field of a configuration; f32 has none, as runs had none before there was a choice. */
export const chosenPrecision = (precision: Precision | undefined): { precision?: "f16" } =>
  precision === "f16" ? { precision } : {};

/** Parser of three lengths, as in "10,1.5,1.5". */
export function voxelSpacing(text: string): Spacing {
  const [z, y, x, ...more] = text.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
  if (![z, y, x].every((v) => Number.isFinite(v) && v > 0) || more.length > 0) {
    throw new InvalidArgumentError("It must be three lengths in mm, as in 10,1.5,1.5.");
  }
  return [z, y, x];
}

/** The option that picks a checkpoint of a run. */
export function checkpointOption(): Option {
  const summary = "which checkpoint (default: best where the run has validated, else last)";
  return choice("--checkpoint <name>", summary, ["best", "last"]);
}

/** Parser of the side of the network's input. */
export function imageSize(text: string): number {
  const size = wholeNumber(32)(text);
  if (size % 32 !== 0) throw new InvalidArgumentError("It must be a multiple of 32.");
  return size;
}

/** Parser of `field=value`, added to the fields given before. */
function sssField(text: string, before: Partial<SssConfig> = {}): Partial<SssConfig> {
  const [, field, value] = text.match(/^(\w+)=(.+)$/) ?? [];
  const plain = Object.keys(sssDefaults).filter((name) => name !== "rampUp");
  if (!plain.includes(field)) {
    throw new InvalidArgumentError(`It must be field=value with a field of ${plain.join(", ")}.`);
  }
  const number = typeof sssDefaults[field as keyof SssConfig] === "number";
  const words: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };
  const fields = {
    ...before,
    [field]: number ? decimal()(value) : value in words ? words[value] : value,
  };
  try {
    sssConfig(fields);
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidArgumentError(error.message);
    throw error;
  }
  return fields;
}

/** An option with one of a few values. */
export function choice(flags: string, summary: string, values: readonly string[]): Option {
  return new Option(flags, summary).argParser((text: string) => {
    if (values.includes(text)) return text;
    throw new InvalidArgumentError(`It must be one of ${values.join(", ")}.`);
  });
}

/** Options of `deno task finetune`, and what they choose. */
import { resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import type { ConfigName } from "../../model/config.ts";
import { cli, decimal, folderPath, parseOptions, wholeNumber } from "../commands/cli.ts";
import {
  choice,
  chosenPrecision,
  imageSize,
  MIXED_PRECISION,
  precisionOption,
} from "../run/options.ts";
import type { HoldOut, TuneChoices, TuneSchedule } from "./config.ts";
import { PART_NAMES, partNames } from "./part_option.ts";
import type { PartName } from "./parts.ts";

const MODELS = ["nano", "t", "s", "b+", "l"] as const;

/** Frames that a clip may have. */
const MAX_FRAMES = 64;

/** A share of the data that is held out, or a folder of other data. */
type ValidationData = { readonly share: number } | { readonly folder: string };

/** Options as given; what was not given is absent. */
export interface TuneFlags {
  readonly checkpoint?: string;
  /** Seed of random weights. */
  readonly randomWeights?: number;
  readonly model?: typeof MODELS[number];
  readonly size?: number;
  readonly steps?: number;
  readonly batch?: number;
  readonly frames?: number;
  readonly objects?: number;
  readonly clicks?: number;
  readonly lr?: number;
  readonly layerDecay?: number;
  readonly weightDecay?: number;
  readonly clip?: number;
  readonly freeze?: readonly PartName[];
  readonly accumulate?: number;
  readonly gradientCheckpointing?: boolean;
  readonly precision?: Precision;
  readonly seed?: number;
  readonly val?: ValidationData;
  readonly fold?: number;
  readonly valEvery?: number;
  readonly evalLimit?: number;
  readonly checkpointEvery?: number;
  readonly out?: string;
  readonly resume?: string;
}

/** What the arguments ask for. */
export interface TuneCommand {
  /** Folder of the data; that of the run where left out. */
  readonly data: string | undefined;
  readonly flags: TuneFlags;
}

/** What the options choose before the data and the checkpoint are opened. */
export interface Choices {
  readonly data: HoldOut & { readonly source: string };
  readonly train:
    & Omit<TuneChoices, "model" | "size">
    & Partial<Pick<TuneChoices, "model" | "size">>;
  readonly schedule: TuneSchedule;
}

const defaults: Choices = {
  data: { source: "", holdOut: null, fold: null },
  train: {
    start: "",
    steps: 200,
    batch: 1,
    frames: 4,
    objects: 3,
    clicks: 7,
    learningRate: 5e-6,
    layerDecay: 0.9,
    weightDecay: 0.1,
    clip: 0.1,
    frozen: [],
    seed: 0,
  },
  schedule: { valEvery: 100, checkpointEvery: 100, evalLimit: null, valData: null },
};

/**
 * Parses the arguments of `deno task finetune`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parseTuneFlags(args: readonly string[]): TuneCommand | undefined {
  const { train, schedule } = defaults;
  const program = cli("finetune", "Tunes SAM-2 on images or scans with labels, or continues a run.")
    .argument("[data]", "folder with images/ and masks/, or with dataset.json (nnU-Net, MSD)")
    .option("--checkpoint <file>", "weights to start from: .pt, .pth or .safetensors")
    .option("--random-weights <seed>", "start from random weights instead", wholeNumber(0))
    .addOption(choice(
      "--model <name>",
      `${MODELS.join(", ")} (default: told from the checkpoint)`,
      MODELS,
    ))
    .option("--size <px>", "side of the network's input (default: the model's own)", imageSize)
    .option("--steps <n>", `optimiser steps (default: ${train.steps})`, wholeNumber(1))
    .option("--batch <n>", `clips of a step (default: ${train.batch})`, wholeNumber(1))
    .option(
      "--frames <n>",
      `frames of a clip, fewer where sequences are shorter (default: ${train.frames})`,
      wholeNumber(1, MAX_FRAMES),
    )
    .option(
      "--objects <n>",
      `objects of a clip at most (default: ${train.objects})`,
      wholeNumber(1),
    )
    .option(
      "--clicks <n>",
      `correcting clicks of a corrected frame (default: ${train.clicks})`,
      wholeNumber(0),
    )
    .option(
      "--lr <x>",
      `learning rate; the trunk gets 0.6 of it (default: ${train.learningRate})`,
      decimal(0),
    )
    .option(
      "--layer-decay <x>",
      `its factor from block to block of the trunk (default: ${train.layerDecay})`,
      decimal(0, 1),
    )
    .option("--weight-decay <x>", `decoupled (default: ${train.weightDecay})`, decimal(0))
    .option(
      "--clip <x>",
      `largest norm of the gradients, 0 for no limit (default: ${train.clip})`,
      decimal(0),
    )
    .option("--freeze <parts>", `kept as they are: ${PART_NAMES.join(",")}`, partNames)
    .option("--accumulate <n>", "micro-batches of a step, each of --batch clips", wholeNumber(1))
    .option("--gradient-checkpointing", "needs less memory and more time")
    .addOption(precisionOption(MIXED_PRECISION))
    .option("--seed <n>", `seed of everything random (default: ${train.seed})`, wholeNumber(0))
    .option("--val <x>", "validate on this share of the sequences, or on a folder", validationData)
    .option("--fold <n>", "validate on a fold of DATA/splits_final.json (nnU-Net)", wholeNumber(0))
    .option(
      "--val-every <n>",
      `steps between validations, 0 for none (default: ${schedule.valEvery})`,
      wholeNumber(0),
    )
    .option("--eval-limit <n>", "most sequences of a validation", wholeNumber(1))
    .option(
      "--checkpoint-every <n>",
      `steps between checkpoints (default: ${schedule.checkpointEvery})`,
      wholeNumber(1),
    )
    .option("--out <dir>", "folder of the run (default: runs/finetune-NUMBER)", folderPath)
    .option("--resume <dir>", "continue the run in this folder");
  const flags = parseOptions<TuneFlags & Record<string, unknown>>(program, args);
  if (!flags) return undefined;
  const data: string | undefined = program.args[0];
  requireSense(data, flags);
  return { data, flags };
}

function requireSense(data: string | undefined, flags: TuneFlags): void {
  const { checkpoint, randomWeights, freeze = [], resume, out, val, fold } = flags;
  if (resume !== undefined && out !== undefined) {
    throw new UserError("--resume continues in the folder of the run; --out cannot go with it.");
  }
  if (resume !== undefined && (checkpoint !== undefined || randomWeights !== undefined)) {
    throw new UserError(
      "--resume goes on with the weights of the run; --checkpoint and --random-weights cannot go " +
        "with it.",
    );
  }
  if (resume === undefined && data === undefined) {
    throw new UserError("Give the folder of the data to tune on, or a run with --resume DIR.");
  }
  if (resume === undefined && (checkpoint === undefined) === (randomWeights === undefined)) {
    throw new UserError(
      "Give the weights to start from, either with --checkpoint FILE or with --random-weights SEED.",
    );
  }
  if (val !== undefined && fold !== undefined) {
    throw new UserError("Give either --val or --fold, not both.");
  }
  if (PART_NAMES.every((part) => freeze.includes(part))) {
    throw new UserError("With all parts frozen there is nothing to tune.");
  }
}

/** Parser of a share between 0 and 1, or of a folder. */
function validationData(text: string): ValidationData {
  const share = Number(text);
  if (Number.isNaN(share)) return { folder: text };
  if (share > 0 && share < 1) return { share };
  throw new InvalidArgumentError("It must be a share between 0 and 1, or a folder.");
}

/** What the options of a new run choose, or those of `base` with what they change. */
export function choose({ data, flags }: TuneCommand, base: Choices = defaults): Choices {
  const { train: { precision, ...train }, schedule } = base;
  const { val, fold } = flags;
  const { checkpoint, randomWeights } = flags;
  const start = checkpoint ? resolve(checkpoint) : `random, seed ${randomWeights}`;
  const given = checkpoint !== undefined || randomWeights !== undefined;
  const model = named(flags.model) ?? train.model;
  const size = flags.size ?? train.size;
  const chosen = fold !== undefined || (val && "share" in val);
  return {
    data: {
      source: data === undefined ? base.data.source : resolve(data),
      holdOut: chosen ? val && "share" in val ? val.share : null : base.data.holdOut,
      fold: chosen ? fold ?? null : base.data.fold,
    },
    train: {
      ...train,
      ...(model && { model }),
      ...(size && { size }),
      start: given ? start : train.start,
      steps: flags.steps ?? train.steps,
      batch: flags.batch ?? train.batch,
      frames: flags.frames ?? train.frames,
      objects: flags.objects ?? train.objects,
      clicks: flags.clicks ?? train.clicks,
      learningRate: flags.lr ?? train.learningRate,
      layerDecay: flags.layerDecay ?? train.layerDecay,
      weightDecay: flags.weightDecay ?? train.weightDecay,
      clip: flags.clip ?? train.clip,
      frozen: flags.freeze ?? train.frozen,
      ...(flags.accumulate && { accumulate: flags.accumulate }),
      ...(flags.gradientCheckpointing && { gradientCheckpointing: true }),
      ...chosenPrecision(flags.precision ?? precision),
      seed: flags.seed ?? train.seed,
    },
    schedule: {
      valEvery: flags.valEvery ?? schedule.valEvery,
      checkpointEvery: flags.checkpointEvery ?? schedule.checkpointEvery,
      evalLimit: flags.evalLimit ?? schedule.evalLimit,
      valData: val && "folder" in val ? resolve(val.folder) : schedule.valData,
    },
  };
}

function named(model: TuneFlags["model"]): ConfigName | undefined {
  return model === undefined || model === "nano" ? model : `sam2.1_hiera_${model}`;
}

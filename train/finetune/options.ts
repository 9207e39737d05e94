/** Options of `deno task finetune`. */
import { Option } from "commander";
import { UserError } from "../../engine/errors.ts";
import { cli, decimal, parseOptions, wholeNumber } from "../commands/cli.ts";
import { imageSize } from "../run/options.ts";
import { PART_NAMES, partNames } from "./part_option.ts";
import type { PartName } from "./parts.ts";

const MODELS = ["nano", "t", "s", "b+", "l"] as const;

/** Options as given or by default. */
export interface TuneFlags {
  readonly checkpoint?: string;
  /** Seed of random weights. */
  readonly randomWeights?: number;
  readonly model?: typeof MODELS[number];
  readonly size?: number;
  readonly steps: number;
  readonly batch: number;
  readonly frames: number;
  readonly objects: number;
  readonly clicks: number;
  readonly lr: number;
  readonly layerDecay: number;
  readonly weightDecay: number;
  readonly clip: number;
  readonly freeze: readonly PartName[];
  readonly seed: number;
  readonly checkpointEvery: number;
  readonly out?: string;
}

/** What the arguments ask for. */
export interface TuneCommand {
  /** Folder of the data. */
  readonly data: string;
  readonly flags: TuneFlags;
}

/**
 * Parses the arguments of `deno task finetune`; `undefined` where they ask for help.
 *
 * @throws {UserError} where they are wrong.
 */
export function parseTuneFlags(args: readonly string[]): TuneCommand | undefined {
  const program = cli("finetune", "Tunes SAM-2 on images or scans with labels.")
    .argument("<data>", "folder with images/ and masks/, or with dataset.json (nnU-Net, MSD)")
    .option("--checkpoint <file>", "weights to start from: .pt, .pth or .safetensors")
    .option("--random-weights <seed>", "start from random weights instead", wholeNumber(0))
    .addOption(new Option("--model <name>", "default: told from the checkpoint").choices(MODELS))
    .option("--size <px>", "side of the network's input (default: the model's own)", imageSize)
    .option("--steps <n>", "optimiser steps", wholeNumber(1), 200)
    .option("--batch <n>", "clips of a step", wholeNumber(1), 1)
    .option("--frames <n>", "frames of a clip, fewer where sequences are shorter", frames, 4)
    .option("--objects <n>", "objects of a clip at most", wholeNumber(1), 3)
    .option("--clicks <n>", "correcting clicks of a corrected frame", wholeNumber(0), 7)
    .option("--lr <x>", "learning rate; the trunk gets 0.6 of it", decimal(0), 5e-6)
    .option("--layer-decay <x>", "its factor from block to block of the trunk", decimal(0, 1), 0.9)
    .option("--weight-decay <x>", "decoupled weight decay", decimal(0), 0.1)
    .option("--clip <x>", "largest norm of the gradients, 0 for no limit", decimal(0), 0.1)
    .option("--freeze <parts>", `kept as they are: ${PART_NAMES.join(",")}`, partNames, [])
    .option("--seed <n>", "seed of everything random", wholeNumber(0), 0)
    .option("--checkpoint-every <n>", "steps between checkpoints", wholeNumber(1), 100)
    .option("--out <dir>", "folder of the run (default: runs/finetune-NUMBER)");
  const flags = parseOptions<TuneFlags & Record<string, unknown>>(program, args);
  if (!flags) return undefined;
  const { checkpoint, randomWeights, freeze } = flags;
  if ((checkpoint === undefined) === (randomWeights === undefined)) {
    throw new UserError(
      "Give the weights to start from, either with --checkpoint FILE or with --random-weights SEED.",
    );
  }
  if (PART_NAMES.every((part) => freeze.includes(part))) {
    throw new UserError("With all parts frozen there is nothing to tune.");
  }
  return { data: program.args[0], flags };
}

const MAX_FRAMES = 64;
const frames = wholeNumber(1, MAX_FRAMES);

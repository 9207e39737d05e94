/** Which model `segment` and `track` use, where its weights come from, and how it computes. */
import { dirname } from "node:path";
import type { Command } from "commander";
import type { Precision } from "../../engine/autocast.ts";
import { type CheckpointFile, loadWeights, openCheckpoint } from "../../engine/checkpoint/mod.ts";
import { UserError } from "../../engine/errors.ts";
import {
  describeDifference,
  requireFit,
  type StateDifference,
} from "../../engine/nn/state_dict.ts";
import { FlatParameters } from "../../engine/optim/mod.ts";
import { configOf } from "../../model/checkpoint_config.ts";
import {
  type ConfigName,
  CONFIGS,
  type Sam2Config,
  STABLE_SINGLE_MASK,
} from "../../model/config.ts";
import { Sam2 } from "../../model/sam2/sam2.ts";
import { wholeNumber } from "../commands/cli.ts";
import { choice, HALF_PRECISION, imageSize, precisionOption } from "./options.ts";
import { publishedWeights, runCommandOf, trainedSize } from "./published_weights.ts";

/** Names of models as in `--model`. */
const MODELS = ["nano", "t", "s", "b+", "l"] as const;
const VERSIONS = ["2.0", "2.1"] as const;

/** The options that choose a model and how it computes. */
export interface ModelFlags {
  readonly checkpoint?: string;
  /** Seed of random weights. */
  readonly randomWeights?: number;
  readonly model?: typeof MODELS[number];
  readonly samVersion?: typeof VERSIONS[number];
  readonly size?: number;
  readonly allowPartial?: boolean;
  readonly precision?: Precision;
  /** Whether the official builders' additions are used. */
  readonly postprocessing: boolean;
}

/** Adds the options that choose a model and how it computes. */
export function addModelOptions(program: Command): Command {
  return program
    .option("--checkpoint <file>", "weights: .pt, .pth or .safetensors file, by its content")
    .option("--random-weights <seed>", "random weights, to try the pipeline", wholeNumber())
    .addOption(choice(
      "--model <name>",
      `${MODELS.join(", ")} (default: told from the checkpoint; nano for random weights)`,
      MODELS,
    ))
    .addOption(choice(
      "--sam-version <version>",
      `of --model: ${VERSIONS.join(", ")} (default: 2.1)`,
      VERSIONS,
    ))
    .option("--size <px>", "side of the network's input (default: the model's own)", imageSize)
    .addOption(precisionOption(HALF_PRECISION))
    .option("--allow-partial", "take a checkpoint that lacks keys or has more of them")
    .option(
      "--no-postprocessing",
      "do not steady single masks, nor (track) fill holes and sharpen memories of clicks",
    );
}

const BASE = "https://dl.fbaipublicfiles.com/segment_anything_2";

/**
 * Checks that the options name weights.
 *
 * @throws {UserError} that says where the official ones are found, or what contradicts itself.
 */
export function requireWeights(flags: ModelFlags): void {
  const { checkpoint, randomWeights, model, samVersion } = flags;
  if (checkpoint === undefined && randomWeights === undefined) {
    throw new UserError(
      "Give the weights of SAM 2 with --checkpoint FILE: the official ones are found at " +
        `${BASE}/092824/sam2.1_hiera_tiny.pt (also _small, _base_plus and _large), those of ` +
        `SAM 2.0 at ${BASE}/072824/sam2_hiera_tiny.pt; --random-weights 0 tries the pipeline ` +
        "without any.",
    );
  }
  if (checkpoint !== undefined && randomWeights !== undefined) {
    throw new UserError("Give either --checkpoint or --random-weights, not both.");
  }
  if (samVersion !== undefined && (model === undefined || model === "nano")) {
    throw new UserError("--sam-version goes with --model t, s, b+ or l.");
  }
}

/** A model in GPU memory, and what it is. */
export interface LoadedModel {
  readonly model: Sam2;
  readonly config: ConfigName;
  /** Where the weights come from, in words. */
  readonly weights: string;
  /** What a user should know about them. */
  readonly notes: readonly string[];
}

/** The model as JSON files tell of it. */
export interface ModelEntry {
  readonly config: string;
  readonly size: number;
  readonly weights: string;
  readonly precision: Precision;
}

/** What there is to tell of a model. */
export function modelEntry(
  { model, config, weights }: LoadedModel,
  { precision = "f32" }: ModelFlags,
): ModelEntry {
  return { config, size: model.config.imageSize, weights, precision };
}

/**
 * Makes the model that the options choose and puts its weights into GPU memory, one at a time.
 *
 * @param video whether it is to track: the official builder for that adds more to the configuration.
 * @throws {UserError} where the checkpoint cannot be read, or does not fit.
 */
export async function loadModel(flags: ModelFlags, video: boolean): Promise<LoadedModel> {
  requireWeights(flags);
  const { randomWeights: seed } = flags;
  if (seed !== undefined) {
    const config = named(flags) ?? "nano";
    const model = new Sam2(configured(config, flags, video));
    await FlatParameters.create(model, { seed });
    return { model, config, weights: `random, seed ${seed}`, notes: [] };
  }
  const path = flags.checkpoint!;
  using file = await openCheckpoint(path);
  requirePromptable(file, path);
  const tensors = publishedWeights(file);
  const config = named(flags) ?? configOf(tensors);
  if (!config) {
    throw new UserError(`${path} is like none of the known models: choose one with --model.`);
  }
  const size = flags.size ?? trainedSize(file);
  const model = new Sam2(configured(config, { ...flags, ...(size && { size }) }, video));
  const notes = requireUse(path, model, requireFit(model, tensors, !flags.allowPartial, path));
  await allocate(model, flags.allowPartial === true);
  await loadWeights(model, { ...file, name: path, tensors }, {
    allowPartial: flags.allowPartial === true,
  });
  return { model, config, weights: path, notes };
}

/**
 * What is missing or left over where a part of a checkpoint is taken.
 *
 * @throws {UserError} where nothing of it can be used.
 */
function requireUse(path: string, model: Sam2, difference: StateDifference): string[] {
  const { missing, unexpected } = difference;
  if (missing.length === model.namedParameters().length) {
    throw new UserError(`${path} has none of the model's weights.`);
  }
  if (missing.length + unexpected.length === 0) return [];
  const random = missing.length > 0 ? "; what is missing stays random" : "";
  return [`${path}: ${describeDifference(difference)}${random}.`];
}

/** The configuration that the options name. */
function named({ model, samVersion = "2.1" }: ModelFlags): ConfigName | undefined {
  if (model === undefined || model === "nano") return model;
  return samVersion === "2.0" ? `sam2_hiera_${model}` : `sam2.1_hiera_${model}`;
}

/** A configuration with what the official builders add to it. */
function configured(
  name: ConfigName,
  { size, postprocessing }: Pick<ModelFlags, "size" | "postprocessing">,
  video: boolean,
): Sam2Config {
  const config: Sam2Config = CONFIGS[name];
  return {
    ...config,
    imageSize: size ?? config.imageSize,
    ...(postprocessing && {
      maskDecoder: { ...config.maskDecoder, ...STABLE_SINGLE_MASK },
      binarizeMaskFromPtsForMemEnc: video,
    }),
  };
}

/**
 * A model of SSS segments its classes by tokens that clicks do not have, in slices of mean 0 and
 * variance 1; in pictures as SAM-2 sees them it would find anything.
 *
 * @throws {UserError} for a checkpoint of `train`.
 */
function requirePromptable(file: CheckpointFile, path: string): void {
  if (runCommandOf(file) !== "train") return;
  throw new UserError(
    `${path} is of a run of \`deno task train\`, whose model finds its classes by itself instead of ` +
      `following prompts: use \`deno task predict ${dirname(path)} SCAN --out DIR\`.`,
  );
}

/** Puts a model into GPU memory; its values are random where a checkpoint may lack some, else 0. */
async function allocate(model: Sam2, random: boolean): Promise<void> {
  if (random) {
    await FlatParameters.create(model);
    return;
  }
  const named = new Map(model.namedParameters());
  // One array of zeros serves all: random values for every weight would take seconds.
  const zeros = new Float32Array(Math.max(...[...named.values()].map(({ size }) => size)));
  const get = (key: string) => {
    const { shape, size } = named.get(key)!;
    return { shape, data: zeros.subarray(0, size) };
  };
  await FlatParameters.create(model, { values: { get } });
}

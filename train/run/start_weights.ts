/** Training from given weights instead of random ones. */
import { loadWeights, openCheckpoint } from "../../engine/checkpoint/mod.ts";
import { UserError } from "../../engine/errors.ts";
import type { Module } from "../../engine/nn/mod.ts";
import { configOf } from "../../model/checkpoint_config.ts";
import { publishedWeights } from "./published_weights.ts";

/** What SSS adds to SAM-2; no published checkpoint has it, so it starts from random weights. */
const ADDED = "sss.";

/**
 * Tells whether a checkpoint is of SAM 2.0, whose models lack some keys of 2.1.
 *
 * @throws {UserError} where it cannot be read.
 */
export async function isOfSam20(path: string): Promise<boolean> {
  using file = await openCheckpoint(path);
  return configOf(publishedWeights(file))?.startsWith("sam2_") ?? false;
}

/**
 * Gives a model the SAM-2 weights of a checkpoint.
 *
 * @throws {UserError} where it cannot be read, or is of another model.
 */
export async function startFrom(model: Module, path: string): Promise<void> {
  using file = await openCheckpoint(path);
  const source = { ...file, name: path, tensors: publishedWeights(file) };
  const { missing, unexpected } = await loadWeights(model, source, { allowPartial: true });
  const wrong = [...missing.filter((key) => !key.startsWith(ADDED)), ...unexpected];
  if (wrong.length === 0) return;
  throw new UserError(
    `${path} is of another model than the one chosen with --model: ${wrong.length} keys do not ` +
      `fit, the first is "${wrong[0]}".`,
  );
}

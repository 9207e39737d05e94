/** Checkpoints: safetensors files with all that a run needs to go on, or to be measured. */
import { UserError } from "../../engine/errors.ts";
import { readSafetensors, writeSafetensors } from "../../engine/safetensors.ts";
import { type AnyRunConfig, differences, type RunCommand, type RunConfig } from "./config.ts";
import type { SavedTrainer } from "../trainer.ts";

/** How far the validations of a run have come. */
export interface ValidationState {
  /** Step of the latest validation; 0 before the first. */
  readonly step: number;
  /** The best one, by its mean Dice. */
  readonly best: { readonly step: number; readonly dice: number } | null;
}

/** The content of a checkpoint. */
export interface Checkpoint<Config extends AnyRunConfig = RunConfig> {
  readonly config: Config;
  /** Steps done. */
  readonly step: number;
  readonly validation: ValidationState;
  /** Weights, averages, moments, memory bank, prompts: all that the next steps depend on. */
  readonly trainer: SavedTrainer;
}

/** What the metadata of such a file say about its format. */
export const RUN_FORMATS: Readonly<Record<RunCommand, string>> = {
  train: "sam2-sss checkpoint 1",
  finetune: "sam2-finetune checkpoint 1",
};

/**
 * Writes a checkpoint, complete or not at all.
 *
 * @throws {UserError} where it cannot be written; an older one of that name then stays.
 */
export async function saveCheckpoint(
  path: string,
  checkpoint: Checkpoint<AnyRunConfig>,
): Promise<void> {
  const { config, step, validation, trainer: { tensors, state } } = checkpoint;
  const json = JSON.stringify({ config, step, validation, state });
  const format = RUN_FORMATS[config.command ?? "train"];
  await writeSafetensors(path, tensors, { format, run: json });
}

/**
 * Reads a checkpoint.
 *
 * @throws {UserError} where the file is missing, damaged or no checkpoint of this program.
 */
export async function loadCheckpoint<Config extends AnyRunConfig = RunConfig>(
  path: string,
): Promise<Checkpoint<Config>> {
  const { tensors, metadata: { format, run } } = await readSafetensors(path);
  if (run === undefined || !Object.values(RUN_FORMATS).includes(format)) {
    throw new UserError(
      `${path} is no checkpoint of a run: its format is "${format ?? "unknown"}".`,
    );
  }
  const { config, step, validation, state } = parseRun<Config>(path, run);
  return { config, step, validation, trainer: { tensors, state } };
}

/** What a checkpoint says of its run beside the tensors. */
type RunRecord<Config extends AnyRunConfig> =
  & Omit<Checkpoint<Config>, "trainer">
  & Pick<SavedTrainer, "state">;

/**
 * Reads what the metadata of a checkpoint say of its run.
 *
 * @throws {UserError} where that is damaged.
 */
export function parseRun<Config extends AnyRunConfig>(
  path: string,
  text: string | undefined,
): RunRecord<Config> {
  try {
    const record = JSON.parse(text ?? "") as RunRecord<Config>;
    const { size } = record.config.train;
    if (size > 0 && size % 32 === 0) return record;
  } catch {
    // Told below.
  }
  throw new UserError(`${path} is damaged: it does not say of what run it is.`);
}

/**
 * Checks that a run with the configuration `here` would continue `checkpoint` exactly.
 *
 * @throws {UserError} that lists what differs.
 */
export function requireSame(
  path: string,
  checkpoint: Checkpoint<AnyRunConfig>,
  here: AnyRunConfig,
): void {
  const found = differences(checkpoint.config, here);
  if (found.length > 0) throw new UserError(`Cannot continue from ${path}: ${found.join("; ")}.`);
}

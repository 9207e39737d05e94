/** The model that is tuned, and its first weights. */
import { loadWeights, openCheckpoint } from "../../engine/checkpoint/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { initialise } from "../../engine/nn/mod.ts";
import { configOf } from "../../model/checkpoint_config.ts";
import { type ConfigName, CONFIGS, type Sam2Config } from "../../model/config.ts";
import { Sam2 } from "../../model/sam2/sam2.ts";
import { publishedWeights, trainedSize } from "../run/published_weights.ts";
import type { Choices, TuneFlags } from "./options.ts";

/** A model in host memory, and its name. */
export interface StartModel {
  readonly model: Sam2;
  readonly name: ConfigName;
}

/** A model without weights. @param size side of its input; the model's own where left out. */
export function modelOf(name: ConfigName, size: number | undefined): Sam2 {
  const config: Sam2Config = CONFIGS[name];
  return new Sam2({ ...config, imageSize: size ?? config.imageSize });
}

/** Whether two names are of one model, be it in SAM 2.0 or 2.1: options do not name the version. */
function sameButVersion(a: ConfigName, b: ConfigName): boolean {
  return a.replace(/^sam2(\.1)?_/, "") === b.replace(/^sam2(\.1)?_/, "");
}

/**
 * The model that the options name, with the weights of the checkpoint where one is given.
 *
 * @throws {UserError} where it cannot be read, or is of no known model.
 */
export async function startModel(
  { checkpoint, randomWeights }: Pick<TuneFlags, "checkpoint" | "randomWeights">,
  { model: chosen, size }: Pick<Choices["train"], "model" | "size">,
): Promise<StartModel> {
  if (checkpoint === undefined) {
    const name = chosen ?? "nano";
    const model = modelOf(name, size);
    await initialise(model, randomWeights!);
    return { model, name };
  }
  using file = await openCheckpoint(checkpoint);
  const tensors = publishedWeights(file);
  const told = configOf(tensors);
  const name = told && (!chosen || sameButVersion(told, chosen)) ? told : chosen;
  if (!name) {
    throw new UserError(`${checkpoint} is like none of the known models: choose one with --model.`);
  }
  const model = modelOf(name, size ?? trainedSize(file));
  await loadWeights(model, { ...file, name: checkpoint, tensors });
  return { model, name };
}

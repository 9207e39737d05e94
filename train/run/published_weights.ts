/** What of a checkpoint other programs can use. */
import type { CheckpointFile, CheckpointTensor } from "../../engine/checkpoint/mod.ts";
import { parseRun, RUN_FORMATS } from "./checkpoint.ts";
import type { AnyRunConfig, RunCommand } from "./config.ts";

/** Averaged weights, and what SSS has beside SAM-2. */
const AVERAGED = "ema.";
const SSS = "sss.";

/** What fine-tuning keeps beside the weights, which have the official keys. */
export const OPTIMIZER = "optimizer.";

/** Where files of plain weights say for which side of the input they were made. */
const IMAGE_SIZE = "image_size";

/** Metadata of plain weights that were made for an input of this side. */
export function weightsMetadata(size: number): Record<string, string> {
  return { [IMAGE_SIZE]: `${size}` };
}

/** The command whose run a checkpoint is of; `undefined` for any other file. */
export function runCommandOf({ metadata }: CheckpointFile): RunCommand | undefined {
  const commands = Object.keys(RUN_FORMATS) as RunCommand[];
  return commands.find((command) => RUN_FORMATS[command] === metadata.format);
}

/**
 * The side of the input for which a run made its weights; `undefined` where nothing tells.
 *
 * @throws {UserError} where the file says that it is of a run, but not of which.
 */
export function trainedSize(file: CheckpointFile): number | undefined {
  const size = Number(file.metadata[IMAGE_SIZE]);
  if (size > 0 && size % 32 === 0) return size;
  if (!runCommandOf(file)) return undefined;
  return parseRun<AnyRunConfig>(file.name, file.metadata.run).config.train.size;
}

/**
 * The tensors under official keys: of a run of `train`, its averaged SAM-2 weights without the parts of
 * SSS, which the official programs do not know; of one of `finetune`, its weights; of any other
 * checkpoint, all.
 */
export function publishedWeights(file: CheckpointFile): ReadonlyMap<string, CheckpointTensor> {
  const command = runCommandOf(file);
  if (!command) return file.tensors;
  const all = [...file.tensors];
  if (command === "finetune") return new Map(all.filter(([key]) => !key.startsWith(OPTIMIZER)));
  return new Map(
    all.filter(([key]) => key.startsWith(AVERAGED) && !key.startsWith(AVERAGED + SSS))
      .map(([key, tensor]) => [key.slice(AVERAGED.length), tensor]),
  );
}

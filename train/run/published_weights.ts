/** What of a checkpoint other programs can use. */
import type { CheckpointFile, CheckpointTensor } from "../../engine/checkpoint/mod.ts";
import { RUN_FORMAT } from "./checkpoint.ts";

/** Averaged weights, and what SSS has beside SAM-2. */
const AVERAGED = "ema.";
const SSS = "sss.";

/** True for a checkpoint of a run of this program. */
export function isRun({ metadata }: CheckpointFile): boolean {
  return metadata.format === RUN_FORMAT;
}

/**
 * The tensors under official keys: of a run, its averaged SAM-2 weights without the parts of SSS, which
 * the official programs do not know; of any other checkpoint, all.
 */
export function publishedWeights(file: CheckpointFile): ReadonlyMap<string, CheckpointTensor> {
  if (!isRun(file)) return file.tensors;
  return new Map(
    [...file.tensors]
      .filter(([key]) => key.startsWith(AVERAGED) && !key.startsWith(AVERAGED + SSS))
      .map(([key, tensor]) => [key.slice(AVERAGED.length), tensor]),
  );
}

/** `deno task predict`: segments scans with a checkpoint of a run. */
import { advised, TRAIN_SMALLER } from "../run/memory_advice.ts";
import { parsePredictFlags, runPrediction } from "../run/predict_run.ts";
import { Trainer } from "../trainer.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parsePredictFlags(args);
  if (!flags) return 0;
  return await advised(TRAIN_SMALLER, () => runPrediction(flags, Trainer.create));
}

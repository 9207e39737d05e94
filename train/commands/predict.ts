/** `deno task predict`: segments scans with a checkpoint of a run. */
import { parsePredictFlags, runPrediction } from "../run/predict_run.ts";
import { Trainer } from "../trainer.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parsePredictFlags(args);
  return flags ? await runPrediction(flags, Trainer.create) : 0;
}

/** `deno task train`: trains a model, or continues a run. */
import { advised, CHOOSE_SMALLER } from "../run/memory_advice.ts";
import { parseTrainFlags } from "../run/options.ts";
import { runTraining } from "../run/train_run.ts";
import { Trainer } from "../trainer.ts";

/** Runs the command; 0, or 130 where a signal came. */
export async function run(args: string[]): Promise<number> {
  const flags = parseTrainFlags(args);
  if (!flags) return 0;
  return await advised(CHOOSE_SMALLER, () => runTraining(flags, Trainer.create));
}

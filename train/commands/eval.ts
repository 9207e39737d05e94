/** `deno task eval`: measures a checkpoint of a run. */
import { advised, TRAIN_SMALLER } from "../run/memory_advice.ts";
import { parseEvalFlags, runEvaluation } from "../run/eval_run.ts";
import { Trainer } from "../trainer.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseEvalFlags(args);
  if (!flags) return 0;
  return await advised(TRAIN_SMALLER, () => runEvaluation(flags, Trainer.create));
}

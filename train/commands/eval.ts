/** `deno task eval`: measures a checkpoint of a run. */
import { parseEvalFlags, runEvaluation } from "../run/eval_run.ts";
import { Trainer } from "../trainer.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseEvalFlags(args);
  return flags ? await runEvaluation(flags, Trainer.create) : 0;
}

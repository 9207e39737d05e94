/** `deno task finetune`: tunes SAM-2 on its own objective. */
import { parseTuneFlags } from "../finetune/options.ts";
import { runTuning } from "../finetune/run.ts";

/** Runs the command; 0, or 130 where a signal came. */
export async function run(args: string[]): Promise<number> {
  const command = parseTuneFlags(args);
  return command ? await runTuning(command) : 0;
}

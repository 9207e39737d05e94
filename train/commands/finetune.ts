/** `deno task finetune`: tunes SAM-2 on its own objective, or continues a run. */
import { parseTuneFlags } from "../finetune/options.ts";
import { runTuning } from "../finetune/run.ts";
import { advised } from "../run/memory_advice.ts";

const ADVICE =
  "Smaller values of --batch, --frames, --objects, --clicks or --size, a smaller --model, " +
  "--gradient-checkpointing and parts in --freeze need less.";

/** Runs the command; 0, or 130 where a signal came. */
export async function run(args: string[]): Promise<number> {
  const command = parseTuneFlags(args);
  return command ? await advised(ADVICE, () => runTuning(command)) : 0;
}

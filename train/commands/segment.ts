/** `deno task segment`: segments an image or a slice with SAM 2. */
import { advised } from "../run/memory_advice.ts";
import { parseSegmentFlags } from "../run/segment_options.ts";
import { runSegmentation } from "../run/segment_run.ts";

const ADVICE =
  "A smaller --size or --model needs less, with --auto also smaller --points-per-batch.";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseSegmentFlags(args);
  return flags ? await advised(ADVICE, () => runSegmentation(flags)) : 0;
}

/** `deno task segment`: segments an image or a slice with SAM 2. */
import { parseSegmentFlags } from "../run/segment_options.ts";
import { runSegmentation } from "../run/segment_run.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseSegmentFlags(args);
  return flags ? await runSegmentation(flags) : 0;
}

/** `deno task track`: tracks objects through a video or a scan with SAM 2. */
import { advised } from "../run/memory_advice.ts";
import { parseTrackFlags } from "../run/track_options.ts";
import { runTracking } from "../run/track_run.ts";

const ADVICE = "A smaller --size or --model needs less, as do fewer objects at a time.";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseTrackFlags(args);
  return flags ? await advised(ADVICE, () => runTracking(flags)) : 0;
}

/** `deno task track`: tracks objects through a video or a scan with SAM 2. */
import { parseTrackFlags } from "../run/track_options.ts";
import { runTracking } from "../run/track_run.ts";

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const flags = parseTrackFlags(args);
  return flags ? await runTracking(flags) : 0;
}

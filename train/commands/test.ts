/** `deno task test`: `deno test -A` in a process of its own, on a machine that has an adapter. */
import { runDeno } from "../setup/process.ts";

/**
 * Passes its arguments on to `deno test`. Tiles that were tuned on this machine stay out of it. Tests
 * run small kernels: Mesa's llvmpipe is quicker with them in the calling thread than in its workers,
 * unless the environment says otherwise.
 */
export function run(args: string[]): Promise<number> {
  const LP_NUM_THREADS = Deno.env.get("LP_NUM_THREADS") ?? "0";
  return runDeno(["test", "-A", ...args], { SSS_TUNING: "off", LP_NUM_THREADS });
}

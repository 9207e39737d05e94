/** `deno task test`: `deno test -A` in a process of its own, on a machine that has an adapter. */
import { runDeno } from "../setup/process.ts";

/** Passes its arguments on to `deno test`; tiles that were tuned on this machine stay out of it. */
export function run(args: string[]): Promise<number> {
  return runDeno(["test", "-A", ...args], { SSS_TUNING: "off" });
}

/** `deno task test`: `deno test -A` in a process of its own, on a machine that has an adapter. */
import { runDeno } from "../setup/process.ts";

/** Passes its arguments on to `deno test`. */
export function run(args: string[]): Promise<number> {
  return runDeno(["test", "-A", ...args]);
}

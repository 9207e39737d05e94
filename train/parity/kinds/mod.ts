/** The runner of each kind of fixture. */
import type { Runner } from "../kind.ts";
import { runMemoryBank } from "./memory_bank.ts";
import { runMetrics } from "./metrics.ts";
import { runOps } from "./ops.ts";
import { runPcsw } from "./pcsw.ts";

/** Runners by kind. */
export const RUNNERS: Readonly<Record<string, Runner>> = {
  memory_bank: runMemoryBank,
  metrics: runMetrics,
  ops: runOps,
  pcsw: runPcsw,
};

/** The kind that a manifest names, else the known kind with which the fixture's name begins. */
export function kindOf(declared: string | undefined, name: string): string | undefined {
  if (declared !== undefined) return declared;
  return Object.keys(RUNNERS).filter((kind) => name === kind || name.startsWith(`${kind}_`))
    .sort((a, b) => b.length - a.length)[0];
}

/** The runner of each kind of fixture. */
import type { Runner } from "../kind.ts";
import { runOps } from "./ops.ts";

/** Runners by kind. */
export const RUNNERS: Readonly<Record<string, Runner>> = {
  ops: runOps,
};

/** The kind that a manifest names, else the known kind with which the fixture's name begins. */
export function kindOf(declared: string | undefined, name: string): string | undefined {
  if (declared !== undefined) return declared;
  return Object.keys(RUNNERS).filter((kind) => name === kind || name.startsWith(`${kind}_`))
    .sort((a, b) => b.length - a.length)[0];
}

import type { Tensor } from "../../engine/mod.ts";

/**
 * Receives intermediate values by name, for comparison with other implementations. Values are nodes
 * of the lazy graph: those that nobody evaluates cost nothing.
 */
export type Trace = (name: string, value: Tensor) => void;

/** The same trace with `prefix` and a dot before each name. */
export function under(trace: Trace | undefined, prefix: string): Trace | undefined {
  return trace && ((name, value) => trace(`${prefix}.${name}`, value));
}

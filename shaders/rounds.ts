/** How long the loops of a kernel may be. */
import type { AdapterProfile } from "../engine/device.ts";

/**
 * llvmpipe leaves the loops of an invocation after so many rounds, all of them together, those of outer
 * loops and the tests that end them included, without a word.
 */
export const MOST_ROUNDS = 65535;

/**
 * Refuses what a software adapter would leave half done.
 *
 * @param label op and shape.
 * @param rounds of all loops of an invocation.
 * @throws {RangeError} where there are too many.
 */
export function requireRounds(label: string, rounds: number, profile: AdapterProfile): void {
  if (!profile.software || rounds <= MOST_ROUNDS) return;
  throw new RangeError(
    `${label} takes ${rounds} rounds of loops; software adapters end them after ${MOST_ROUNDS}.`,
  );
}

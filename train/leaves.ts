/** Trees of leaves whose host values change from step to step, while their graph stays. */
import { Tensor } from "../engine/mod.ts";

/** The shapes of all leaves: steps of one form have one graph. */
export function formOf(leaves: unknown): string {
  if (leaves instanceof Tensor) return `${leaves.shape}`;
  if (typeof leaves !== "object" || leaves === null) return "";
  const parts = Object.entries(leaves).filter(([, part]) => part !== undefined);
  return `{${parts.map(([name, part]) => `${name}:${formOf(part)}`)}}`;
}

/** Gives recorded leaves the values of new ones of the same form. */
export function refill(recorded: unknown, values: unknown): void {
  if (recorded instanceof Tensor) {
    recorded.host = (values as Tensor).host;
  } else if (typeof recorded === "object" && recorded !== null) {
    for (const [name, part] of Object.entries(recorded)) {
      refill(part, (values as Record<string, unknown>)[name]);
    }
  }
}

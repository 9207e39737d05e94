import { InvalidArgumentError } from "commander";
import { type PartName, PARTS } from "./parts.ts";

/** Names of all parts that can be frozen. */
export const PART_NAMES = Object.keys(PARTS) as PartName[];

/** Parser of a list of parts, as in "trunk,neck", added to those given before. */
export function partNames(text: string, before: readonly PartName[] = []): PartName[] {
  const names = text.split(",");
  const wrong = names.find((name) => !Object.hasOwn(PARTS, name));
  if (wrong !== undefined) {
    throw new InvalidArgumentError(`"${wrong}" is none of ${PART_NAMES.join(", ")}.`);
  }
  return [...before, ...names as PartName[]];
}

/** What the runner of one kind of fixture does. */
import {
  compareTensor,
  type Comparison,
  failure,
  type OutputSpec,
  type Rule,
  valuesRule,
} from "./compare.ts";
import type { Fixture } from "./fixture.ts";
import type { HostTensor } from "./inputs.ts";

/** Computes a fixture's outputs and compares every one of them. */
export type Runner = (fixture: Fixture) => Promise<readonly Comparison[]>;

/** Compares all outputs that the manifest declares; `ruleOf` picks the rule for a name. */
export function compareOutputs(
  fixture: Fixture,
  produced: ReadonlyMap<string, HostTensor>,
  ruleOf: (name: string, spec: OutputSpec) => Rule = () => valuesRule,
): Comparison[] {
  return Object.entries(fixture.manifest.outputs ?? {}).map(([name, spec]) =>
    compareTensor(
      fixture.name,
      name,
      spec,
      fixture.stored.get(name),
      produced.get(name),
      ruleOf(name, spec),
    )
  );
}

/** An exact comparison of plain data, such as a list of window positions. */
export function compareExactly(name: string, golden: unknown, actual: unknown): Comparison {
  const [a, b] = [JSON.stringify(golden), JSON.stringify(actual)];
  if (a === b) return { name, measure: "exact", error: 0, tolerance: 0 };
  const shown = (text: string | undefined) => (text ?? "nothing").slice(0, 80);
  return failure(name, `${shown(b)} instead of ${shown(a)}`);
}

/** A number within a relative tolerance. */
export function compareRelative(
  name: string,
  golden: number,
  actual: number | undefined,
  relative: number,
): Comparison {
  if (actual === undefined) return failure(name, "this value is not produced");
  const error = Math.abs(actual - golden);
  return { name, measure: "value", error, tolerance: relative * Math.max(Math.abs(golden), 1e-12) };
}

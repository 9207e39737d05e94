/** Runs fixtures and reports one row for each. */
import { type Comparison, passes, shareOf, worstOf } from "./compare.ts";
import { type Fixture, fixtureName, listManifests, loadFixture } from "./fixture.ts";
import { kindOf, RUNNERS } from "./kinds/mod.ts";
import { globPattern } from "./relaxations.ts";

/** The outcome for one manifest. */
export interface Row {
  readonly fixture: string;
  readonly kind: string | undefined;
  readonly passed: boolean;
  readonly seconds: number;
  readonly comparisons: readonly Comparison[];
  /** The output that used most of its tolerance. */
  readonly worst: Comparison | undefined;
  /** Why the fixture could not be run. */
  readonly error: string | undefined;
}

/** True where `only` selects the name: a glob, or without wildcards a part of the name. */
export function selects(only: string | undefined, name: string): boolean {
  if (only === undefined) return true;
  return /[*?]/.test(only) ? globPattern(only).test(name) : name.includes(only);
}

/** Runs the selected fixtures of a folder one after the other. */
export async function* runFolder(folder: string, only?: string): AsyncGenerator<Row> {
  for (const file of await listManifests(folder)) {
    if (selects(only, fixtureName(file))) yield await runManifest(folder, file);
  }
}

async function runManifest(folder: string, file: string): Promise<Row> {
  const start = performance.now();
  let kind: string | undefined;
  let comparisons: readonly Comparison[] = [];
  let error: string | undefined;
  try {
    const fixture = await loadFixture(folder, file);
    kind = kindOf(fixture.manifest.kind, fixture.name);
    comparisons = await runFixture(fixture, kind);
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    error = message.trim().replaceAll(/\s*\n\s*/g, " ");
  }
  const seconds = (performance.now() - start) / 1000;
  const worst = comparisons.length > 0 ? worstOf(comparisons) : undefined;
  const passed = error === undefined && worst !== undefined && passes(worst);
  return { fixture: fixtureName(file), kind, passed, seconds, comparisons, worst, error };
}

async function runFixture(fixture: Fixture, kind: string | undefined) {
  const runner = kind === undefined ? undefined : RUNNERS[kind];
  if (!runner) throw new Error(`Fixtures of kind "${kind ?? fixture.name}" are not supported.`);
  const comparisons = await runner(fixture);
  if (comparisons.length === 0) throw new Error("The fixture declares nothing to compare.");
  return comparisons;
}

/** One line about a row: its worst tensor and how far inside the tolerance that is. */
export function describe(row: Row): string {
  const head = `${row.passed ? "pass" : "FAIL"}  ${row.fixture.padEnd(32)}`;
  const time = `${row.seconds.toFixed(1)} s`;
  if (row.error !== undefined) return `${head} ${row.error}  (${time})`;
  const { worst, comparisons } = row;
  const failed = comparisons.filter((c) => !passes(c)).length;
  const count = failed > 0
    ? `${failed} of ${comparisons.length} outputs differ`
    : `${comparisons.length} outputs`;
  return `${head} ${count}; worst ${describeComparison(worst!)}  (${time})`;
}

function describeComparison(c: Comparison): string {
  if (c.failure !== undefined) return `${c.name}: ${c.failure}`;
  if (c.tolerance === 0) return `${c.name}: ${c.measure} ${c.error === 0 ? "equal" : "differ"}`;
  const share = shareOf(c);
  const amount = share < 0.01 ? share.toExponential(1) : share.toFixed(2);
  return `${c.name}: ${c.measure} ${c.error.toExponential(1)} = ${amount} of the tolerance`;
}

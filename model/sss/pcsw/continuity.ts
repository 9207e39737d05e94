/**
 * Judging a window: how much of its foreground hangs together, and whether that part is plausible.
 *
 * @module
 */
import { checkGates, componentStatistics, type GateReason, type GateSet } from "./gates.ts";
import type { Pieces } from "./pieces.ts";
import type { Spacing } from "./volume.ts";
import type { Window } from "./windows.ts";

/** Why a window or component was taken or refused. */
export type Reason = "accepted" | "empty" | "continuity" | GateReason;

/** Outcome of one window. */
export interface WindowVerdict extends Window {
  /** Share of the foreground in the largest components; null when the window is empty. */
  readonly continuity: number | null;
  readonly reason: Reason;
}

/** What a window is judged by. */
export interface Criteria {
  /** Least continuity. */
  readonly tau: number;
  /** How many of the largest components count: 1 for one organ, more for multi-focal lesions. */
  readonly parts: number;
  readonly gates: GateSet | null;
  readonly spacing: Spacing | null;
  /** Slices that could hold foreground. */
  readonly slices: number;
}

/** A 3-D component as its piece numbers in ascending order. */
export type Component = readonly number[];

/** Numbers of the `count` largest of `sizes` (index 0 is unused), the earlier of equals first. */
function largestNumbers(sizes: Float64Array, count: number): number[] {
  const chosen: number[] = [];
  for (let n = 1; n < sizes.length; n++) {
    if (chosen.length === count && sizes[n] <= sizes[chosen[count - 1]]) continue;
    let at = Math.min(chosen.length, count - 1);
    while (at > 0 && sizes[n] > sizes[chosen[at - 1]]) at--;
    chosen.splice(at, 0, n);
    chosen.length = Math.min(chosen.length, count);
  }
  return chosen;
}

/** The `parts` largest components of a window, largest first. */
function largestComponents(
  pieces: Pieces,
  begin: number,
  labels: Int32Array,
  parts: number,
): { components: number[][]; sizes: number[]; foreground: number } {
  const count = labels.reduce((a, b) => Math.max(a, b), 0);
  const sizes = new Float64Array(count + 1);
  let foreground = 0;
  for (let i = 0; i < labels.length; i++) {
    sizes[labels[i]] += pieces.area[begin + i];
    foreground += pieces.area[begin + i];
  }
  const chosen = largestNumbers(sizes, parts);
  const place = new Int32Array(count + 1).fill(-1);
  chosen.forEach((number, i) => place[number] = i);
  const components: number[][] = chosen.map(() => []);
  for (let i = 0; i < labels.length; i++) {
    if (place[labels[i]] >= 0) components[place[labels[i]]].push(begin + i);
  }
  return { components, sizes: chosen.map((number) => sizes[number]), foreground };
}

/**
 * Judges one window from its piece labels. It is accepted when its largest components hold
 * at least `tau` of the foreground, and still do after the gates; `kept` are those that pass.
 */
export function judgeWindow(
  pieces: Pieces,
  window: Window,
  labels: Int32Array,
  criteria: Criteria,
): { verdict: WindowVerdict; kept: Component[] } {
  const begin = pieces.sliceStart[window.start];
  const { components, sizes, foreground } = largestComponents(
    pieces,
    begin,
    labels,
    criteria.parts,
  );
  const { length, start } = window;
  if (foreground === 0) {
    return { verdict: { length, start, continuity: null, reason: "empty" }, kept: [] };
  }
  const continuity = sizes.reduce((a, b) => a + b, 0) / foreground;
  if (continuity < criteria.tau) {
    return { verdict: { length, start, continuity, reason: "continuity" }, kept: [] };
  }
  const kept: Component[] = [];
  let keptVoxels = 0;
  let refusal: GateReason | null = null;
  for (const [i, component] of components.entries()) {
    const reason = judgeComponent(pieces, component, criteria);
    if (reason === null) {
      kept.push(component);
      keptVoxels += sizes[i];
    } else {
      refusal ??= reason;
    }
  }
  if (refusal !== null && keptVoxels / foreground < criteria.tau) {
    return { verdict: { length, start, continuity, reason: refusal }, kept: [] };
  }
  return { verdict: { length, start, continuity, reason: "accepted" }, kept };
}

/** The gate that refuses a component, or null. */
export function judgeComponent(
  pieces: Pieces,
  component: Component,
  { gates, spacing, slices }: Criteria,
): GateReason | null {
  if (gates === null) return null;
  return checkGates(componentStatistics(pieces, component, spacing), gates, slices);
}

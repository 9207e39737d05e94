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

/** Components of a window, largest first and the earlier one of equals first, at most `parts`. */
function largestComponents(
  pieces: Pieces,
  begin: number,
  labels: ArrayLike<number>,
  parts: number,
): { components: number[][]; sizes: number[]; foreground: number } {
  const ranks = new Map<number, number>();
  const sizes: number[] = [];
  let foreground = 0;
  for (let i = 0; i < labels.length; i++) {
    let rank = ranks.get(labels[i]);
    if (rank === undefined) {
      rank = sizes.push(0) - 1;
      ranks.set(labels[i], rank);
    }
    sizes[rank] += pieces.area[begin + i];
    foreground += pieces.area[begin + i];
  }
  // Array sort is stable, so equals stay in scan order.
  const chosen = sizes.map((_, rank) => rank).sort((a, b) => sizes[b] - sizes[a]).slice(0, parts);
  const place = new Map(chosen.map((rank, i) => [rank, i]));
  const components: number[][] = chosen.map(() => []);
  for (let i = 0; i < labels.length; i++) {
    const at = place.get(ranks.get(labels[i])!);
    if (at !== undefined) components[at].push(begin + i);
  }
  return { components, sizes: chosen.map((rank) => sizes[rank]), foreground };
}

/**
 * Judges one window from the labels of its pieces. It is accepted when its largest components hold
 * at least `tau` of the foreground, and still do after the gates; `kept` are those that pass.
 */
export function judgeWindow(
  pieces: Pieces,
  window: Window,
  labels: ArrayLike<number>,
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

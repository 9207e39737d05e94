/**
 * Window lengths and positions of the sliding-window search, in the order it tries them.
 *
 * @module
 */

/** Slices `start .. start + length - 1` of a volume. */
export interface Window {
  readonly length: number;
  readonly start: number;
}

/**
 * `reported`: lengths from the midpoint of the range upward, as published. `ours`: then also from
 * just below the midpoint down to the shortest.
 */
export type WindowOrder = "reported" | "ours";

/** Shortest, first tried and longest window length, before clamping to the number of slices. */
export interface WindowRange {
  readonly shortest: number;
  readonly first: number;
  readonly longest: number;
}

/** The range [S/3, S/2] with floors 2 and 3, and its midpoint, for a volume of `slices` slices. */
export function windowRange(slices: number): WindowRange {
  if (!Number.isInteger(slices) || slices < 1) {
    throw new RangeError(`a volume needs an integer number of slices >= 1, not ${slices}.`);
  }
  const shortest = Math.max(2, Math.floor(slices / 3));
  const longest = Math.max(3, Math.floor(slices / 2));
  return { shortest, first: Math.floor((shortest + longest) / 2), longest };
}

/** Window lengths in the order tried, each at most `slices` and none twice. */
export function windowLengths(slices: number, order: WindowOrder): number[] {
  const { shortest, first, longest } = windowRange(slices);
  const lengths = new Set<number>();
  for (let n = first; n <= longest; n++) lengths.add(Math.min(n, slices));
  if (order === "ours") {
    for (let n = first - 1; n >= shortest; n--) lengths.add(Math.min(n, slices));
  }
  return [...lengths];
}

/** All windows in the order tried: for every length, every position with stride 1. */
export function slidingWindows(slices: number, order: WindowOrder): Window[] {
  return windowLengths(slices, order).flatMap((length) =>
    Array.from({ length: slices - length + 1 }, (_, start) => ({ length, start }))
  );
}

/**
 * Boxes, points and mask prompts of a slice's pseudo-mask.
 *
 * @module
 */
import { squaredDistanceTransform } from "./distance_transform.ts";
import type { Box, Point } from "./volume.ts";

/** Prompt of one class in one slice, in pixels of the volume. */
export interface SlicePrompt {
  readonly z: number;
  readonly box: Box;
  readonly point: Point;
  /** Logits +-10 `[size, size]`, when mask prompts are on. */
  readonly mask?: Float32Array;
}

/** Where the point is put: deepest inside the mask, or (as published) in the middle of the box. */
export type PointRule = "distance" | "center";

/** Tight inclusive bounds of the non-zero pixels of `mask` `[H, W]`, or null when it is empty. */
export function tightBox(mask: Uint8Array, width: number): Box | null {
  let xmin = Infinity, xmax = -Infinity, ymin = Infinity, ymax = -Infinity;
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 0) continue;
    const x = i % width, y = (i - x) / width;
    if (x < xmin) xmin = x;
    if (x > xmax) xmax = x;
    if (y < ymin) ymin = y;
    ymax = y;
  }
  return ymax === -Infinity ? null : [xmin, ymin, xmax, ymax];
}

/**
 * Moves each side of the box by up to `fraction` of its length, and clips it to the image
 * `[height, width]`. `random` yields numbers in [0, 1).
 */
export function jitterBox(
  [xmin, ymin, xmax, ymax]: Box,
  [height, width]: readonly [number, number],
  random: () => number,
  fraction = 0.02,
): Box {
  const reachX = fraction * (xmax - xmin + 1), reachY = fraction * (ymax - ymin + 1);
  const shift = (value: number, reach: number, limit: number) =>
    Math.min(Math.max(value + (2 * random() - 1) * reach, 0), limit - 1);
  const x = [shift(xmin, reachX, width), shift(xmax, reachX, width)];
  const y = [shift(ymin, reachY, height), shift(ymax, reachY, height)];
  return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
}

/** Middle of the box: it can lie outside a ring. */
export function boxCenter([xmin, ymin, xmax, ymax]: Box): Point {
  return [(xmin + xmax) / 2, (ymin + ymax) / 2];
}

/** Mean position of the non-zero pixels; the mask must have one. */
export function centroid(mask: Uint8Array, width: number): Point {
  let count = 0, sumX = 0, sumY = 0;
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] === 0) continue;
    count++;
    sumX += i % width;
    sumY += Math.floor(i / width);
  }
  if (count === 0) throw new RangeError("an empty mask has no centroid.");
  return [sumX / count, sumY / count];
}

/**
 * The pixel of `mask` farthest from the background (beyond the image is background too), of equals
 * the one nearest the centroid. `spacing` is [y, x].
 */
export function deepestPoint(
  mask: Uint8Array,
  width: number,
  box: Box,
  spacing: readonly [number, number] = [1, 1],
): Point {
  const [xmin, ymin, xmax, ymax] = box;
  const w = xmax - xmin + 3, h = ymax - ymin + 3;
  const background = new Uint8Array(w * h).fill(1);
  for (let y = ymin; y <= ymax; y++) {
    for (let x = xmin; x <= xmax; x++) {
      if (mask[y * width + x] !== 0) background[(y - ymin + 1) * w + x - xmin + 1] = 0;
    }
  }
  const depth = squaredDistanceTransform(background, [1, h, w], [1, ...spacing]);
  const [cx, cy] = centroid(mask, width);
  let best: Point = [xmin, ymin], deepest = 0, nearest = Infinity;
  for (let i = 0; i < depth.length; i++) {
    if (depth[i] === 0 || depth[i] < deepest) continue;
    const x = xmin - 1 + i % w, y = ymin - 1 + Math.floor(i / w);
    const offset = (x - cx) ** 2 + (y - cy) ** 2;
    if (depth[i] === deepest && offset >= nearest) continue;
    best = [x, y];
    deepest = depth[i];
    nearest = offset;
  }
  return best;
}

/** Mask prompt `[size, size]`: logits +10 inside and -10 outside, sampled at cell centres. */
export function maskPrompt(mask: Uint8Array, width: number, size: number): Float32Array {
  const height = mask.length / width;
  return Float32Array.from({ length: size * size }, (_, i) => {
    const x = Math.floor((i % size + 0.5) * width / size);
    const y = Math.floor((Math.floor(i / size) + 0.5) * height / size);
    return mask[y * width + x] !== 0 ? 10 : -10;
  });
}

/** Index of the first largest value. */
export function largestIndex(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Slices to prompt for a component: the key slice (its largest section, the first of equals) and
 * every `frequency`-th slice from it in both directions; 0 gives the key slice alone.
 * `areas[i]` is the area in slice `first + i`.
 */
export function promptSlices(first: number, areas: readonly number[], frequency: number): number[] {
  const key = largestIndex(areas);
  if (frequency === 0) return [first + key];
  return areas.map((_, i) => i).filter((i) => (i - key) % frequency === 0).map((i) => first + i);
}

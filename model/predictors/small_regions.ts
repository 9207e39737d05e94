/** Clean-up of finished masks: small holes and islands go. */
import { type Box, boxOfMask, suppressOverlaps } from "./boxes.ts";
import { labelRegions } from "./regions.ts";
import { maskToRle, rleToMask, type UncompressedRle } from "./rle.ts";
import type { BinaryMask } from "./video_options.ts";

/** A mask after clean-up. */
export interface CleanedMask {
  /** The mask that was given, where nothing changed. */
  readonly mask: BinaryMask;
  /** Whether there was a small region. */
  readonly changed: boolean;
}

/**
 * Fills holes or removes islands of fewer than `area` pixels (8 neighbours). Of islands that are all
 * smaller, the largest stays.
 */
export function removeSmallRegions(
  mask: BinaryMask,
  area: number,
  mode: "holes" | "islands",
): CleanedMask {
  const { data, width, height } = mask;
  const kind = mode === "holes" ? 0 : 1;
  const { labels, areas } = labelRegions((i) => (data[i] === 0 ? 0 : 1) === kind, height, width);
  const small = areas.map((a) => a < area);
  if (!small.includes(true)) return { mask, changed: false };
  if (mode === "islands" && !small.includes(false)) {
    small[areas.indexOf(Math.max(...areas))] = false;
  }
  const inside = (label: number) =>
    mode === "holes" ? label === 0 || small[label - 1] : label > 0 && !small[label - 1];
  return {
    mask: { data: Uint8Array.from(labels, (label) => inside(label) ? 1 : 0), width, height },
    changed: true,
  };
}

/** Masks that are left after clean-up. */
export interface CleanedMasks {
  /** Their indices in the list that was given: unchanged masks first. */
  readonly kept: readonly number[];
  /** One per kept mask. */
  readonly rles: readonly UncompressedRle[];
  /** One per kept mask. */
  readonly boxes: readonly Box[];
}

/**
 * Fills small holes and removes small islands of masks, then drops masks whose boxes have become
 * duplicates; those that needed no clean-up are preferred.
 *
 * @param minArea regions of fewer pixels are small.
 * @param nmsThresh overlap of boxes from which one of them is a duplicate.
 */
export function postprocessSmallRegions(
  rles: readonly UncompressedRle[],
  minArea: number,
  nmsThresh: number,
): CleanedMasks {
  const cleaned = rles.map((rle) => {
    const holes = removeSmallRegions(rleToMask(rle), minArea, "holes");
    const islands = removeSmallRegions(holes.mask, minArea, "islands");
    return { mask: islands.mask, changed: holes.changed || islands.changed };
  });
  const boxes = cleaned.map(({ mask }) => boxOfMask(mask));
  const scores = cleaned.map(({ changed }) => changed ? 0 : 1);
  const kept = suppressOverlaps(boxes, scores, nmsThresh);
  return {
    kept,
    rles: kept.map((i) => cleaned[i].changed ? maskToRle(cleaned[i].mask) : rles[i]),
    boxes: kept.map((i) => boxes[i]),
  };
}

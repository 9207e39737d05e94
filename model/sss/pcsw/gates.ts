/**
 * Physical plausibility gates of a component: volume, extent, and how its cross-section changes from
 * slice to slice.
 *
 * @module
 */
import type { Pieces } from "./pieces.ts";
import type { Spacing } from "./volume.ts";

/** Thresholds of one class. Those in voxels apply when a volume's spacing is unknown. */
export interface GateSet {
  /** Least volume in mm^3. */
  readonly volume: number;
  /** Least volume in voxels. */
  readonly volumeVoxels: number;
  /** Least number of slices from first to last. */
  readonly extent: number;
  /** A component of at least this volume in mm^3 may span fewer slices. */
  readonly extentExempt?: number;
  /** The same exemption in voxels. */
  readonly extentExemptVoxels?: number;
  /** Least min/max ratio of the areas of adjacent slices; pairs with an end slice are exempt. */
  readonly areaRatio: number;
  /** Greatest in-plane shift of the centroid between adjacent slices in mm. */
  readonly drift: number;
  /** The same shift in pixels. */
  readonly driftPixels: number;
  /** Least Dice overlap of adjacent slices. */
  readonly overlap: number;
}

/** What the gates judge. */
export interface ComponentStatistics {
  readonly voxels: number;
  /** Volume in mm^3, or null when the spacing is unknown. */
  readonly volume: number | null;
  /** Slices from first to last. */
  readonly extent: number;
  /** Least area ratio of adjacent slices that are both interior; 1 when there is no such pair. */
  readonly areaRatio: number;
  /** Greatest centroid shift between adjacent slices, in mm, or pixels when the spacing is unknown. */
  readonly drift: number;
  /** Least Dice overlap of adjacent slices; 1 when there is a single slice. */
  readonly overlap: number;
}

/** The gate that refused a component. */
export type GateReason = "volume" | "extent" | "area-ratio" | "drift" | "overlap";

const acdc = { extent: 2, areaRatio: 0.25, drift: 15, driftPixels: 10, overlap: 0.3 };

/**
 * Starting values for ACDC's classes RV, Myo and LV; calibrate them with {@link calibrateGates}.
 * Voxel counts assume the usual 10 x 1.5 x 1.5 mm.
 */
export const acdcGates: readonly GateSet[] = [
  { ...acdc, volume: 500, volumeVoxels: 22 },
  { ...acdc, volume: 1000, volumeVoxels: 44 },
  { ...acdc, volume: 500, volumeVoxels: 22 },
];

/** Starting values for every BHSD class. Voxel counts assume 5 x 0.5 x 0.5 mm. */
export const bhsdGates: readonly GateSet[] = [{
  volume: 50,
  volumeVoxels: 40,
  extent: 2,
  extentExempt: 200,
  extentExemptVoxels: 160,
  areaRatio: 0.1,
  drift: 25,
  driftPixels: 50,
  overlap: 0.1,
}];

/** The gates of class `classIndex` of `classes`: one set serves all classes, or there is one each. */
export function gatesOf(
  gates: readonly GateSet[],
  classIndex: number,
  classes: number,
): GateSet {
  if (gates.length !== 1 && gates.length !== classes) {
    throw new RangeError(`${gates.length} gate sets do not fit ${classes} classes; give 1 or all.`);
  }
  return gates[gates.length === 1 ? 0 : classIndex];
}

/** Cross-section of a component in one slice. */
interface Section {
  readonly slice: number;
  readonly members: number[];
  area: number;
  sumX: number;
  sumY: number;
}

function sections(pieces: Pieces, members: readonly number[]): Section[] {
  const found: Section[] = [];
  for (const piece of members) {
    let section = found.at(-1);
    if (section === undefined || section.slice !== pieces.slice[piece]) {
      section = { slice: pieces.slice[piece], members: [], area: 0, sumX: 0, sumY: 0 };
      found.push(section);
    }
    section.members.push(piece);
    section.area += pieces.area[piece];
    section.sumX += pieces.sumX[piece];
    section.sumY += pieces.sumY[piece];
  }
  return found;
}

function sharedPixels(pieces: Pieces, a: Section, b: Section): number {
  const { offsets, targets, weights } = pieces.overlaps;
  const inB = new Set(b.members);
  let shared = 0;
  for (const piece of a.members) {
    for (let e = offsets[piece]; e < offsets[piece + 1]; e++) {
      if (inB.has(targets[e])) shared += weights[e];
    }
  }
  return shared;
}

function centroidShift(a: Section, b: Section, spacing: Spacing | null): number {
  const dx = a.sumX / a.area - b.sumX / b.area;
  const dy = a.sumY / a.area - b.sumY / b.area;
  return spacing === null ? Math.hypot(dx, dy) : Math.hypot(dx * spacing[2], dy * spacing[1]);
}

/**
 * Statistics of the component made of `members` (piece numbers in ascending order, at least one).
 * Slices are adjacent when the component has no voxels between them.
 */
export function componentStatistics(
  pieces: Pieces,
  members: readonly number[],
  spacing: Spacing | null,
): ComponentStatistics {
  const parts = sections(pieces, members);
  let voxels = 0, areaRatio = 1, drift = 0, overlap = 1;
  for (const part of parts) voxels += part.area;
  for (let i = 0; i + 1 < parts.length; i++) {
    const a = parts[i], b = parts[i + 1];
    if (i > 0 && i + 2 < parts.length) {
      areaRatio = Math.min(areaRatio, Math.min(a.area, b.area) / Math.max(a.area, b.area));
    }
    drift = Math.max(drift, centroidShift(a, b, spacing));
    overlap = Math.min(overlap, 2 * sharedPixels(pieces, a, b) / (a.area + b.area));
  }
  return {
    voxels,
    volume: spacing === null ? null : voxels * spacing[0] * spacing[1] * spacing[2],
    extent: parts[parts.length - 1].slice - parts[0].slice + 1,
    areaRatio,
    drift,
    overlap,
  };
}

/**
 * The first gate that refuses the component, or null when it passes all. `slices` is the number of
 * slices that could hold foreground: a one-slice volume cannot be asked for two.
 */
export function checkGates(
  statistics: ComponentStatistics,
  gates: GateSet,
  slices: number,
): GateReason | null {
  const { volume, voxels } = statistics;
  const size = volume ?? voxels;
  if (size < (volume === null ? gates.volumeVoxels : gates.volume)) return "volume";
  const exempt = (volume === null ? gates.extentExemptVoxels : gates.extentExempt) ?? Infinity;
  if (statistics.extent < Math.min(gates.extent, slices) && size < exempt) return "extent";
  if (statistics.areaRatio < gates.areaRatio) return "area-ratio";
  if (statistics.drift > (volume === null ? gates.driftPixels : gates.drift)) return "drift";
  if (statistics.overlap < gates.overlap) return "overlap";
  return null;
}

/** Value below which a share `p` of `values` lies (linear interpolation between order statistics). */
function quantile(values: readonly number[], p: number): number {
  const sorted = Float64Array.from(values).sort();
  const position = p * (sorted.length - 1);
  const low = Math.floor(position);
  return sorted[low] +
    (position - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/**
 * Gates at the 1st percentile (99th for the drift) of what labelled training components show. All
 * statistics must be in the same unit; thresholds of the other unit are kept from `base`.
 */
export function calibrateGates(
  statistics: readonly ComponentStatistics[],
  base: GateSet,
  share = 0.01,
): GateSet {
  if (statistics.length === 0) throw new RangeError("gates need at least one labelled component.");
  const known = statistics.filter((s) => s.volume !== null).length;
  if (known !== 0 && known !== statistics.length) {
    throw new RangeError(
      `${known} of ${statistics.length} components have a known spacing; calibrate them separately.`,
    );
  }
  const low = (pick: (s: ComponentStatistics) => number) => quantile(statistics.map(pick), share);
  const drift = quantile(statistics.map((s) => s.drift), 1 - share);
  return {
    ...base,
    ...(known > 0
      ? { volume: low((s) => s.volume ?? 0), drift }
      : { volumeVoxels: low((s) => s.voxels), driftPixels: drift }),
    extent: Math.floor(low((s) => s.extent)),
    areaRatio: low((s) => s.areaRatio),
    overlap: low((s) => s.overlap),
  };
}

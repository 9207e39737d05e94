/**
 * Between probabilities, masks of classes, and what a loss may trust.
 *
 * @module
 */
import type { VolumeShape } from "./volume.ts";

/**
 * Masks (0/1) of the classes 1 .. C - 1: where the class has the highest probability of `channels`
 * (the lower class of equals) and at least `threshold`. Slices whose `validSlices` entry is 0 stay
 * empty.
 */
export function classMasks(
  channels: readonly Float32Array[],
  [S, H, W]: VolumeShape,
  threshold: number,
  validSlices?: ArrayLike<number>,
): Uint8Array[] {
  const masks = channels.slice(1).map(() => new Uint8Array(S * H * W));
  for (let z = 0; z < S; z++) {
    if (validSlices?.[z] === 0) continue;
    for (let i = z * H * W; i < (z + 1) * H * W; i++) {
      let best = 0, value = channels[0][i];
      for (let c = 1; c < channels.length; c++) {
        if (channels[c][i] > value) {
          best = c;
          value = channels[c][i];
        }
      }
      if (best > 0 && value >= threshold) masks[best - 1][i] = 1;
    }
  }
  return masks;
}

/**
 * Adds each class's `gaps` (voxel indices) to its kept mask. Voxels kept by another class stay with
 * it; of classes that fill the same voxel the more probable one gets it, and on a draw, or without
 * probabilities, none.
 */
export function resolveOverlaps(
  keptMasks: readonly Uint8Array[],
  gaps: readonly (readonly number[])[],
  probabilities?: readonly Float32Array[],
): void {
  const claims = new Map<number, number[]>();
  for (const [c, voxels] of gaps.entries()) {
    for (const voxel of voxels) {
      if (keptMasks.some((mask) => mask[voxel] !== 0)) continue;
      const claimants = claims.get(voxel);
      if (claimants === undefined) claims.set(voxel, [c]);
      else if (!claimants.includes(c)) claimants.push(c);
    }
  }
  for (const [voxel, claimants] of claims) {
    const scores = claimants.map((c) => probabilities?.[c][voxel] ?? 0);
    const best = Math.max(...scores);
    if (scores.filter((s) => s === best).length > 1) continue;
    keptMasks[claimants[scores.indexOf(best)]][voxel] = 1;
  }
}

/**
 * Trust in one class's pseudo-label. `judged`: all slices were judged, so it is 0 where the class was
 * predicted but not kept and 1 elsewhere; `all` and `none` are 1 and 0 everywhere.
 */
export function voxelWeights(
  predicted: Uint8Array,
  kept: Uint8Array,
  rule: "judged" | "all" | "none",
): Uint8Array {
  if (rule !== "judged") return new Uint8Array(predicted.length).fill(rule === "all" ? 1 : 0);
  const weights = new Uint8Array(predicted.length);
  for (let i = 0; i < weights.length; i++) weights[i] = predicted[i] !== 0 && kept[i] === 0 ? 0 : 1;
  return weights;
}

/**
 * Weight of every voxel of a target label map (0 background, c for class c): the weight of the class
 * that it names. Background keeps weight 1, so that an absent class does not silence a volume.
 */
export function targetWeights(
  targets: ArrayLike<number>,
  classWeights: readonly Uint8Array[],
): Uint8Array {
  const weights = new Uint8Array(targets.length).fill(1);
  for (let i = 0; i < weights.length; i++) {
    const label = targets[i];
    if (label > classWeights.length) {
      throw new RangeError(`target ${label} exceeds the ${classWeights.length} classes of PCSW.`);
    }
    if (label !== 0) weights[i] = classWeights[label - 1][i];
  }
  return weights;
}

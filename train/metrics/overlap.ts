/**
 * Overlap of two binary volumes.
 *
 * @module
 */

/** Dice and Jaccard index in [0, 1]. */
export interface Overlap {
  /** 2 |A and B| / (|A| + |B|): 1 when both are empty, 0 when one is. */
  readonly dice: number;
  /** |A and B| / |A or B|, with the same rule. */
  readonly jaccard: number;
}

/** Counts of non-zero voxels in both masks and in each. */
export interface OverlapCounts {
  readonly both: number;
  readonly prediction: number;
  readonly reference: number;
}

/** Counts the voxels of two masks of equal length. */
export function overlapCounts(prediction: Uint8Array, reference: Uint8Array): OverlapCounts {
  if (prediction.length !== reference.length) {
    throw new RangeError(
      `prediction and reference have ${prediction.length} and ${reference.length} voxels.`,
    );
  }
  let both = 0, a = 0, b = 0;
  for (let i = 0; i < prediction.length; i++) {
    const p = prediction[i] !== 0, r = reference[i] !== 0;
    if (p) a++;
    if (r) b++;
    if (p && r) both++;
  }
  return { both, prediction: a, reference: b };
}

/** Dice and Jaccard from counts. */
export function overlap({ both, prediction, reference }: OverlapCounts): Overlap {
  if (prediction + reference === 0) return { dice: 1, jaccard: 1 };
  return {
    dice: 2 * both / (prediction + reference),
    jaccard: both / (prediction + reference - both),
  };
}

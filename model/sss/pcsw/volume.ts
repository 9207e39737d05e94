/**
 * Shape, spacing and boxes of the 3-D volumes that PCSW and the metrics work on.
 *
 * @module
 */

/** Slices, rows and columns: arrays are in C order `[S, H, W]`. */
export type VolumeShape = readonly [slices: number, height: number, width: number];

/** Distance between voxel centres along z, y and x in millimetres. */
export type Spacing = readonly [z: number, y: number, x: number];

/** `[xmin, ymin, xmax, ymax]`, inclusive pixel bounds. */
export type Box = readonly [xmin: number, ymin: number, xmax: number, ymax: number];

/** Pixel position `[x, y]`; a pixel's centre has integer coordinates. */
export type Point = readonly [x: number, y: number];

/** Neighbourhood of a voxel: shared faces (6), or faces, edges and corners (26). */
export type Connectivity = 6 | 26;

/** Number of voxels. Throws when `length` (named `what`) differs or an extent is not an integer >= 1. */
export function voxelCount(shape: VolumeShape, length?: number, what = "the volume"): number {
  for (const extent of shape) {
    if (!Number.isInteger(extent) || extent < 1) {
      throw new RangeError(`${what} has shape [${shape}]; every extent must be an integer >= 1.`);
    }
  }
  const count = shape[0] * shape[1] * shape[2];
  if (length !== undefined && length !== count) {
    throw new RangeError(`${what} has ${length} voxels, but shape [${shape}] has ${count}.`);
  }
  return count;
}

/** Throws unless all three spacings are finite and positive. */
export function checkSpacing(spacing: Spacing): void {
  if (spacing.length !== 3 || !spacing.every((s) => Number.isFinite(s) && s > 0)) {
    throw new RangeError(`spacing must be three positive lengths [z, y, x], not [${spacing}].`);
  }
}

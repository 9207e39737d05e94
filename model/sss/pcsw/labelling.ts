/**
 * Strategies that tell which pieces of a window belong together.
 *
 * The default walks the graph of touching pieces. A voxel labelling (the depth-first reference here,
 * or one that runs on the GPU) can take its place: PCSW then looks its labels up at one voxel per
 * piece, so all strategies lead to the same decisions.
 *
 * @module
 */
import { labelComponents } from "./components.ts";
import type { Pieces } from "./pieces.ts";
import type { Connectivity, VolumeShape } from "./volume.ts";
import type { Window } from "./windows.ts";

/**
 * Component labels of the voxels `[length, H, W]` of one window of one class: two foreground voxels
 * have the same label exactly when they are connected inside the window. Background is not read.
 */
export type VoxelLabels = (classIndex: number, window: number) => ArrayLike<number>;

/** Labels all windows of all classes' masks `[S, H, W]`, e.g. in one batch of GPU dispatches. */
export type LabelVoxels = (
  masks: readonly Uint8Array[],
  shape: VolumeShape,
  windows: readonly Window[],
  connectivity: Connectivity,
) => VoxelLabels | Promise<VoxelLabels>;

/**
 * Component numbers 1, 2, ... by first appearance of the pieces of a window, in piece order; the
 * first piece of the window is at index 0.
 */
export type PieceLabels = (window: number) => Int32Array;

/** The voxel reference: explicit-stack depth-first search in a window when it is asked for. */
export const labelVoxelsByDfs: LabelVoxels = (masks, [, H, W], windows, connectivity) => {
  return (classIndex, window) => {
    const { start, length } = windows[window];
    const part = masks[classIndex].subarray(start * H * W, (start + length) * H * W);
    return labelComponents(part, [length, H, W], connectivity).labels;
  };
};

/** Depth-first search, explicit stack, over touching pieces inside the window. */
export function labelPieces(pieces: Pieces, { start, length }: Window): Int32Array {
  const begin = pieces.sliceStart[start], end = pieces.sliceStart[start + length];
  const { offsets, targets } = pieces.contacts;
  const labels = new Int32Array(end - begin);
  const stack: number[] = [];
  let count = 0;
  for (let seed = begin; seed < end; seed++) {
    if (labels[seed - begin] !== 0) continue;
    labels[seed - begin] = ++count;
    stack.push(seed);
    while (stack.length > 0) {
      const piece = stack.pop()!;
      for (let e = offsets[piece]; e < offsets[piece + 1]; e++) {
        const next = targets[e];
        if (next < begin || next >= end || labels[next - begin] !== 0) continue;
        labels[next - begin] = count;
        stack.push(next);
      }
    }
  }
  return labels;
}

/** Reads voxel labels at the first voxel of every piece of the window, and renumbers them. */
export function pieceLabelsFromVoxels(
  pieces: Pieces,
  { start, length }: Window,
  voxelLabels: ArrayLike<number>,
): Int32Array {
  const [, H, W] = pieces.shape;
  if (voxelLabels.length !== length * H * W) {
    throw new RangeError(
      `the labels of window [${start}, ${start + length}) have ${voxelLabels.length} voxels, ` +
        `but the window has ${length * H * W}.`,
    );
  }
  const begin = pieces.sliceStart[start];
  const labels = new Int32Array(pieces.sliceStart[start + length] - begin);
  const numbers = new Map<number, number>();
  for (let i = 0; i < labels.length; i++) {
    const label = voxelLabels[pieces.first[begin + i] - start * H * W];
    const number = numbers.get(label) ?? numbers.size + 1;
    numbers.set(label, number);
    labels[i] = number;
  }
  return labels;
}

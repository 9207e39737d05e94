/**
 * Connected components of voxels by depth-first search with an explicit stack: the host reference
 * for every other labelling.
 *
 * @module
 */
import { type Connectivity, type VolumeShape, voxelCount } from "./volume.ts";

/** Labels of a volume: 0 is background, components are 1 .. `count` in scan order. */
export interface Labels {
  readonly labels: Int32Array;
  readonly count: number;
}

/** Offsets to the neighbours of a voxel as flat triples (dz, dy, dx). */
function neighbourOffsets(connectivity: Connectivity): Int8Array {
  const offsets: number[] = [];
  for (let dz = -1; dz <= 1; dz++) {
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const axes = Math.abs(dz) + Math.abs(dy) + Math.abs(dx);
        if (axes === 1 || (axes > 1 && connectivity === 26)) offsets.push(dz, dy, dx);
      }
    }
  }
  return Int8Array.from(offsets);
}

/**
 * Labels the non-zero voxels of `mask` `[S, H, W]`.
 *
 * A voxel is marked when it is pushed, so the stack never holds more than the foreground and no
 * volume is too large for it.
 */
export function labelComponents(
  mask: Uint8Array,
  shape: VolumeShape,
  connectivity: Connectivity,
): Labels {
  const total = voxelCount(shape, mask.length, "the mask");
  const [S, H, W] = shape;
  const offsets = neighbourOffsets(connectivity);
  const labels = new Int32Array(total);
  let stack = new Int32Array(1024);
  let count = 0;
  for (let seed = 0; seed < total; seed++) {
    if (mask[seed] === 0 || labels[seed] !== 0) continue;
    labels[seed] = ++count;
    stack[0] = seed;
    let depth = 1;
    while (depth > 0) {
      const voxel = stack[--depth];
      const x = voxel % W, row = (voxel - x) / W, y = row % H, z = (row - y) / H;
      if (depth + 26 > stack.length) stack = grown(stack);
      for (let o = 0; o < offsets.length; o += 3) {
        const nz = z + offsets[o], ny = y + offsets[o + 1], nx = x + offsets[o + 2];
        if (nz < 0 || nz >= S || ny < 0 || ny >= H || nx < 0 || nx >= W) continue;
        const next = (nz * H + ny) * W + nx;
        if (mask[next] === 0 || labels[next] !== 0) continue;
        labels[next] = count;
        stack[depth++] = next;
      }
    }
  }
  return { labels, count };
}

function grown(stack: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(stack.length * 2);
  larger.set(stack);
  return larger;
}

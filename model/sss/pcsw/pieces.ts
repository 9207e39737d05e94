/**
 * The 2-D components of every slice ("pieces"), which pieces touch or overlap, and how much.
 *
 * A 3-D component of any window is a union of pieces, so once the pieces are known every window, gate
 * and union is a walk over a small graph and no voxel is visited again.
 *
 * @module
 */
import { type Connectivity, type VolumeShape, voxelCount } from "./volume.ts";

/** Undirected weighted graph in compressed rows: neighbours of `i` are `targets[offsets[i] ..]`. */
export interface Graph {
  readonly offsets: Int32Array;
  readonly targets: Int32Array;
  readonly weights: Int32Array;
}

/** Pieces of one binary volume, numbered slice by slice in scan order. */
export interface Pieces {
  readonly shape: VolumeShape;
  readonly count: number;
  /** `[S, H, W]`: 0 is background, otherwise piece number + 1. */
  readonly labels: Int32Array;
  /** `[S + 1]`: slice z holds the pieces `sliceStart[z] .. sliceStart[z + 1] - 1`. */
  readonly sliceStart: Int32Array;
  readonly slice: Int32Array;
  /** Voxels of each piece. */
  readonly area: Int32Array;
  /** Index of the first voxel of each piece in scan order. */
  readonly first: Int32Array;
  /** Sums of the pixel coordinates of each piece. */
  readonly sumX: Float64Array;
  readonly sumY: Float64Array;
  /** Pieces of adjacent slices that touch in the 3-D connectivity asked for (weights unused: 1). */
  readonly contacts: Graph;
  /** Pieces of slices at most `gap + 1` apart that share pixels; weights count these pixels. */
  readonly overlaps: Graph;
}

/** Explicit-stack search of one piece; returns its area and coordinate sums. */
function fillPiece(
  mask: Uint8Array,
  labels: Int32Array,
  seed: number,
  label: number,
  [, H, W]: VolumeShape,
  diagonal: boolean,
  stack: number[],
): [area: number, sumX: number, sumY: number] {
  let area = 0, sumX = 0, sumY = 0;
  const plane = seed - seed % (H * W);
  labels[seed] = label;
  stack.push(seed);
  while (stack.length > 0) {
    const voxel = stack.pop()!;
    const x = (voxel - plane) % W, y = (voxel - plane - x) / W;
    area++;
    sumX += x;
    sumY += y;
    const top = Math.max(y - 1, 0), bottom = Math.min(y + 1, H - 1);
    const left = Math.max(x - 1, 0), right = Math.min(x + 1, W - 1);
    for (let ny = top; ny <= bottom; ny++) {
      for (let nx = left; nx <= right; nx++) {
        if (!diagonal && ny !== y && nx !== x) continue;
        const next = plane + ny * W + nx;
        if (mask[next] === 0 || labels[next] !== 0) continue;
        labels[next] = label;
        stack.push(next);
      }
    }
  }
  return [area, sumX, sumY];
}

/** Weighted edges between pieces; equal pairs in a row are added up before the map is touched. */
class EdgeList {
  readonly from: number[] = [];
  readonly to: number[] = [];
  readonly weight: number[] = [];
  #index = new Map<number, number>();
  #lastFrom = -1;
  #lastTo = -1;
  #last = -1;

  constructor(readonly nodes: number) {}

  add(a: number, b: number): void {
    if (a !== this.#lastFrom || b !== this.#lastTo) {
      const key = a * this.nodes + b;
      let edge = this.#index.get(key);
      if (edge === undefined) {
        edge = this.from.push(a) - 1;
        this.to.push(b);
        this.weight.push(0);
        this.#index.set(key, edge);
      }
      this.#lastFrom = a;
      this.#lastTo = b;
      this.#last = edge;
    }
    this.weight[this.#last]++;
  }

  graph(): Graph {
    const offsets = new Int32Array(this.nodes + 1);
    for (const a of this.from) offsets[a + 1]++;
    for (const b of this.to) offsets[b + 1]++;
    for (let i = 0; i < this.nodes; i++) offsets[i + 1] += offsets[i];
    const next = offsets.slice();
    const targets = new Int32Array(2 * this.from.length);
    const weights = new Int32Array(2 * this.from.length);
    for (let e = 0; e < this.from.length; e++) {
      const a = this.from[e], b = this.to[e];
      targets[next[a]] = b;
      weights[next[a]++] = this.weight[e];
      targets[next[b]] = a;
      weights[next[b]++] = this.weight[e];
    }
    return { offsets, targets, weights };
  }
}

function overlapGraph(labels: Int32Array, shape: VolumeShape, count: number, gap: number): Graph {
  const [S, H, W] = shape;
  const edges = new EdgeList(count);
  for (let distance = 1; distance <= gap + 1; distance++) {
    const step = distance * H * W;
    const end = (S - distance) * H * W;
    for (let i = 0; i < end; i++) {
      const a = labels[i];
      if (a !== 0 && labels[i + step] !== 0) edges.add(a - 1, labels[i + step] - 1);
    }
  }
  return edges.graph();
}

function contactGraph(
  labels: Int32Array,
  [S, H, W]: VolumeShape,
  count: number,
  connectivity: Connectivity,
): Graph {
  const edges = new EdgeList(count);
  const end = (S - 1) * H * W;
  for (let i = 0; i < end; i++) {
    const a = labels[i];
    if (a === 0) continue;
    const above = i + H * W;
    if (labels[above] !== 0) {
      // The eight pixels around `above` belong to the same piece as `above` or to none.
      edges.add(a - 1, labels[above] - 1);
    } else if (connectivity === 26) {
      const x = i % W, y = ((i - x) / W) % H;
      for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, H - 1); ny++) {
        for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, W - 1); nx++) {
          const b = labels[above + (ny - y) * W + (nx - x)];
          if (b !== 0) edges.add(a - 1, b - 1);
        }
      }
    }
  }
  return edges.graph();
}

/**
 * Cuts the non-zero voxels of `mask` `[S, H, W]` into pieces. In-plane neighbours are 4 for
 * connectivity 6 and 8 for 26, so that every piece lies in one 3-D component. `gap` missing slices
 * may lie between overlapping pieces.
 */
export function cutPieces(
  mask: Uint8Array,
  shape: VolumeShape,
  connectivity: Connectivity,
  gap: number,
): Pieces {
  const total = voxelCount(shape, mask.length, "the mask");
  const [S, H, W] = shape;
  const labels = new Int32Array(total);
  const sliceStart = new Int32Array(S + 1);
  const slice: number[] = [], area: number[] = [], first: number[] = [];
  const sumX: number[] = [], sumY: number[] = [];
  const stack: number[] = [];
  for (let z = 0; z < S; z++) {
    for (let seed = z * H * W; seed < (z + 1) * H * W; seed++) {
      if (mask[seed] === 0 || labels[seed] !== 0) continue;
      const label = first.push(seed);
      const sums = fillPiece(mask, labels, seed, label, shape, connectivity === 26, stack);
      slice.push(z);
      area.push(sums[0]);
      sumX.push(sums[1]);
      sumY.push(sums[2]);
    }
    sliceStart[z + 1] = first.length;
  }
  const count = first.length;
  return {
    shape,
    count,
    labels,
    sliceStart,
    slice: Int32Array.from(slice),
    area: Int32Array.from(area),
    first: Int32Array.from(first),
    sumX: Float64Array.from(sumX),
    sumY: Float64Array.from(sumY),
    contacts: contactGraph(labels, shape, count, connectivity),
    overlaps: overlapGraph(labels, shape, count, gap),
  };
}

/** Boxes around masks, crops of images, and the suppression of duplicates. */
import type { BinaryMask } from "./video_options.ts";

/** Left, top, right and bottom pixel. */
export type Box = readonly [x0: number, y0: number, x1: number, y1: number];

/** Left, top, width and height. */
export type BoxXywh = readonly [x: number, y: number, width: number, height: number];

/** The box around a mask: first and last column and row; all 0 where the mask is empty. */
export function boxOfMask({ data, width, height }: BinaryMask): Box {
  let [x0, y0, x1, y1] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] === 0) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = y;
    }
  }
  return y1 < 0 ? [0, 0, 0, 0] : [x0, y0, x1, y1];
}

/** The same box by its corner and size. */
export function toXywh([x0, y0, x1, y1]: Box): BoxXywh {
  return [x0, y0, x1 - x0, y1 - y0];
}

/** Moves a box from the coordinates of a crop to those of the image. */
export function uncropBox([x0, y0, x1, y1]: Box, [left, top]: Box): Box {
  return [x0 + left, y0 + top, x1 + left, y1 + top];
}

/** Area, with the last column and row left out. */
export function boxArea([x0, y0, x1, y1]: Box): number {
  return (x1 - x0) * (y1 - y0);
}

/** Intersection over union; not a number where both boxes have no area. */
export function boxIou(a: Box, b: Box): number {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const shared = width * height;
  return shared / (boxArea(a) + boxArea(b) - shared);
}

/**
 * Indices of boxes that overlap no better one by more than `threshold`, best first; boxes of equal
 * score keep their order.
 */
export function suppressOverlaps(
  boxes: readonly Box[],
  scores: readonly number[],
  threshold: number,
): number[] {
  const order = boxes.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  const kept: number[] = [];
  for (const i of order) {
    if (!kept.some((j) => boxIou(boxes[j], boxes[i]) > threshold)) kept.push(i);
  }
  return kept;
}

/** Pixels within which an edge counts as touched. */
const EDGE_DISTANCE = 20;

/** Whether a box touches an edge of its crop that is not an edge of the image. */
export function touchesCropEdge(box: Box, crop: Box, image: Box): boolean {
  return box.some((edge, i) =>
    Math.abs(edge - crop[i]) <= EDGE_DISTANCE && Math.abs(edge - image[i]) > EDGE_DISTANCE
  );
}

/** A part of an image, and how often images were halved to get there. */
export interface Crop {
  /** In pixels of the image; right and bottom are the first pixels outside. */
  readonly box: Box;
  /** 0 for the whole image. */
  readonly layer: number;
}

/**
 * The whole image, then for each layer i >= 1 a grid of 2^i x 2^i overlapping crops, column by column.
 *
 * @param overlapRatio overlap of the crops of the first layer, as a share of the image's short side.
 */
export function cropBoxes(
  height: number,
  width: number,
  layers: number,
  overlapRatio: number,
): Crop[] {
  const crops: Crop[] = [{ box: [0, 0, width, height], layer: 0 }];
  for (let layer = 1; layer <= layers; layer++) {
    const side = 2 ** layer;
    const overlap = Math.trunc(overlapRatio * Math.min(height, width) * (2 / side));
    const length = (size: number) => Math.ceil((overlap * (side - 1) + size) / side);
    const [w, h] = [length(width), length(height)];
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) {
        const [x, y] = [(w - overlap) * i, (h - overlap) * j];
        crops.push({ box: [x, y, Math.min(x + w, width), Math.min(y + h, height)], layer });
      }
    }
  }
  return crops;
}

/** Centres of n x n cells of the unit square as (x, y), row by row. */
export function pointGrid(n: number): (readonly [x: number, y: number])[] {
  const offset = 1 / (2 * n);
  const step = n > 1 ? (1 - 2 * offset) / (n - 1) : 0;
  const at = (i: number) => i === n - 1 && n > 1 ? 1 - offset : offset + i * step;
  return Array.from({ length: n * n }, (_, k) => [at(k % n), at(Math.floor(k / n))] as const);
}

/** One grid per crop layer; each has fewer points than the one before, by a factor. */
export function layerGrids(
  pointsPerSide: number,
  layers: number,
  downscale: number,
): (readonly [x: number, y: number])[][] {
  return Array.from(
    { length: layers + 1 },
    (_, layer) => pointGrid(Math.trunc(pointsPerSide / downscale ** layer)),
  );
}

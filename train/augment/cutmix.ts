/** CutMix (Yun et al., 2019): a box of each image is taken from another image of the batch. */
import {
  arange,
  cast,
  flip,
  ge,
  logicalAnd,
  lt,
  reshape,
  select,
  type Tensor,
  where,
} from "../../engine/mod.ts";
import type { Random } from "../data/random.ts";

/** Share of the area and aspect ratio of the box, and how often one is cut (UniMatch's recipe). */
const AREA = [0.02, 0.4] as const;
const ASPECT = [0.3, 1 / 0.3] as const;
const PROBABILITY = 0.5;

/** Draws (x0, y0, x1, y1) in pixels, x1 and y1 outside; an empty box where nothing is cut. */
export function drawCutMix(random: Random, size: number): Float32Array {
  const cut = random.uniform() < PROBABILITY;
  const area = (AREA[0] + (AREA[1] - AREA[0]) * random.uniform()) * size * size;
  const aspect = Math.exp(Math.log(ASPECT[0]) + Math.log(ASPECT[1] / ASPECT[0]) * random.uniform());
  const width = Math.min(size, Math.round(Math.sqrt(area * aspect)));
  const height = Math.min(size, Math.round(Math.sqrt(area / aspect)));
  const x0 = Math.floor(random.uniform() * (size - width + 1));
  const y0 = Math.floor(random.uniform() * (size - height + 1));
  return cut ? Float32Array.of(x0, y0, x0 + width, y0 + height) : new Float32Array(4);
}

/** 1 inside the boxes f32 [B, 4], as [B, 1, size, size]. */
export function boxMask(boxes: Tensor, size: number): Tensor {
  const corner = (i: number) => reshape(select(boxes, 1, i), [-1, 1, 1, 1]);
  const xs = cast(arange(size, [1, 1, 1, size]), "f32");
  const ys = cast(arange(size, [1, 1, size, 1]), "f32");
  const columns = logicalAnd(ge(xs, corner(0)), lt(xs, corner(2)));
  const rows = logicalAnd(ge(ys, corner(1)), lt(ys, corner(3)));
  return logicalAnd(columns, rows);
}

/** Fills the mask from the batch in reversed order: images, targets and weights go the same way. */
export function cutMix(x: Tensor, mask: Tensor): Tensor {
  return where(mask, flip(x, [0]), x);
}

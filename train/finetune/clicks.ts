/** Prompts of a training clip, drawn on the GPU from what the model got wrong. */
import {
  add,
  amax,
  cast,
  cat,
  clamp,
  expand,
  flatten,
  minimum,
  mul,
  reshape,
  select,
  stack,
  sub,
  takeAlong,
  type Tensor,
  tensor,
  where,
} from "../../engine/mod.ts";
import type { PointPrompt } from "../../model/sam2/prompt_encoder.ts";
import { maskBoxes, randomPoints } from "../prompting.ts";

/** Sides of boxes are off by up to this share of their length, and this many pixels. */
const BOX_NOISE = { share: 0.1, pixels: 20 } as const;

/** Labels of the corners of a box. */
const CORNERS = [2, 3];

/**
 * A click on a random wrong pixel of each object: on the object where it was missed, off it elsewhere.
 * Where nothing is wrong, a click off the object says so again.
 *
 * @param target binary masks, [B, 1, R, R].
 * @param predicted binary masks, [B, 1, R, R]; zeros ask for a click anywhere on the object.
 * @param key of the random numbers, u32 [2].
 */
export function correctingClick(target: Tensor, predicted: Tensor, key: Tensor): PointPrompt {
  const missed = mul(target, sub(1, predicted));
  const error = add(missed, mul(predicted, sub(1, target)));
  const region = where(amax(error, [1, 2, 3], true), error, sub(1, target));
  const points = randomPoints(region, key);
  const width = target.shape[3];
  const pixel = cast(add(mul(select(points, 1, 1), width), select(points, 1, 0)), "u32");
  const index = reshape(pixel, [-1, 1]);
  return { coords: reshape(points, [-1, 1, 2]), labels: takeAlong(flatten(missed, 1), 1, index) };
}

/**
 * A box around each object as two points, its sides moved a little.
 *
 * @param target binary masks, [B, 1, R, R].
 * @param shifts of the sides as shares of the largest shift, -1 to 1, [B, 4].
 */
export function looseBox(target: Tensor, shifts: Tensor): PointPrompt {
  const [batch, , , size] = target.shape;
  const boxes = maskBoxes(target);
  const side = (i: number) => select(boxes, 1, i);
  const limit = (length: Tensor) => minimum(mul(length, BOX_NOISE.share), BOX_NOISE.pixels);
  const [x, y] = [limit(sub(side(2), side(0))), limit(sub(side(3), side(1)))];
  const moved = clamp(add(boxes, mul(shifts, stack([x, y, x, y], 1))), 0, size - 1);
  const labels = expand(tensor(CORNERS, [1, 2]), [batch, 2]);
  return { coords: reshape(moved, [batch, 2, 2]), labels };
}

/** Points followed by more points. */
export function withPoints(points: PointPrompt | undefined, more: PointPrompt): PointPrompt {
  if (!points) return more;
  return {
    coords: cat([points.coords, more.coords], 1),
    labels: cat([points.labels, more.labels], 1),
  };
}

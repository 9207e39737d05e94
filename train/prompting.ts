/** Prompts of a training step, made on the GPU from the masks of the view that is trained on. */
import {
  add,
  amax,
  amin,
  arange,
  argmax,
  cast,
  clamp,
  div,
  flatten,
  floor,
  gt,
  mul,
  randomUniform,
  reshape,
  select,
  stack,
  sub,
  type Tensor,
  where,
} from "../engine/mod.ts";
import type { PointPrompt } from "../model/sam2/prompt_encoder.ts";

/** Boxes and points of every object, and whether it has them. */
export interface ObjectPrompts {
  /** (x0, y0, x1, y1), [N, 4], inclusive pixel bounds. */
  readonly boxes: Tensor;
  /** 1 where the box is given, [N]. */
  readonly boxOn: Tensor;
  /** (x, y), [N, 2]. */
  readonly points: Tensor;
  /** 1 where the point is given, [N]. */
  readonly pointOn: Tensor;
}

/** Tight boxes [N, 4] of masks [B, C, H, W], N = B C; meaningless where a mask is empty. */
export function maskBoxes(masks: Tensor): Tensor {
  const [batch, classes, height, width] = masks.shape;
  const xs = cast(arange(width, [1, 1, 1, width]), "f32");
  const ys = cast(arange(height, [1, 1, height, 1]), "f32");
  const low = (at: Tensor, none: number) => amin(where(masks, at, none), [2, 3]);
  const high = (at: Tensor) => amax(where(masks, at, -1), [2, 3]);
  const sides = [low(xs, width), low(ys, height), high(xs), high(ys)];
  return reshape(stack(sides, 2), [batch * classes, 4]);
}

/** A random pixel (x, y) of each mask [B, C, H, W], [N, 2]; meaningless where a mask is empty. */
export function randomPoints(masks: Tensor, key: Tensor): Tensor {
  const [batch, classes, , width] = masks.shape;
  const scores = mul(gt(masks, 0), add(randomUniform(key, masks.shape), 1));
  const index = cast(argmax(flatten(scores, 2), 2), "f32");
  const y = floor(div(add(index, 0.5), width));
  const x = sub(index, mul(y, width));
  return reshape(stack([x, y], 2), [batch * classes, 2]);
}

/** Boxes whose sides are moved by shares of their lengths, [N, 4] each. */
export function jitterBoxes(boxes: Tensor, shares: Tensor, size: number): Tensor {
  const side = (i: number) => select(boxes, 1, i);
  const [width, height] = [sub(side(2), side(0)), sub(side(3), side(1))];
  const lengths = stack([width, height, width, height], 1);
  return clamp(add(boxes, mul(lengths, shares)), 0, size - 1);
}

/** Two corners and a point for every object; label -1 where one is not given. */
export function promptTokens({ boxes, boxOn, points, pointOn }: ObjectPrompts): PointPrompt {
  const objects = boxOn.shape[0];
  const corners = reshape(boxes, [objects, 2, 2]);
  const coords = stack([select(corners, 1, 0), select(corners, 1, 1), points], 1);
  const labels = stack([where(boxOn, 2, -1), where(boxOn, 3, -1), where(pointOn, 1, -1)], 1);
  return { coords, labels };
}

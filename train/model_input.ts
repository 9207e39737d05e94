/** Scans as the model takes them. */
import { add, expand, mean, mul, rsqrt, square, sub, type Tensor } from "../engine/mod.ts";

/** Keeps empty slices finite. */
const EPSILON = 1e-4;

/**
 * Grey images [B, 1, R, R] in any unit as [B, 3, R, R], each with mean 0 and variance 1: what photographs
 * have on average after ImageNet's normalisation, which SAM-2's weights expect. The intensities of
 * scanners have no common unit, so that ImageNet's own constants would leave each patient another mean.
 */
export function modelInput(images: Tensor): Tensor {
  const [batch, , height, width] = images.shape;
  const centred = sub(images, mean(images, [1, 2, 3], true));
  const spread = add(mean(square(centred), [1, 2, 3], true), EPSILON);
  return expand(mul(centred, rsqrt(spread)), [batch, 3, height, width]);
}

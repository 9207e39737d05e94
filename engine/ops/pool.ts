/** Max pooling. */
import {
  lowerMaxPool,
  lowerMaxPoolBackward,
  type PoolShape,
  windowsIn,
} from "../../shaders/max_pool.ts";
import { requireFloat } from "../dtype.ts";
import { adjacent, type HeavyRule, type InputView } from "../rule.ts";
import { requireWhole, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { permute } from "./movement.ts";
import { noSecondDerivative } from "./second_derivative.ts";

/**
 * Largest value of each kernel-sized window of [B, C, H, W], without padding; windows that would pass
 * the edge are left out. At ties the first place in row-major order gets the gradient, as in PyTorch.
 *
 * @throws {RangeError} where the kernel is larger than the map, or it or the stride is below 1.
 * @throws {TypeError} where x is neither f32 nor f16.
 */
export function maxPool2d(
  x: Tensor,
  { kernel, stride = kernel }: { kernel: number; stride?: number },
): Tensor {
  const [batch, channels, height, width] = x.shape;
  requireWhole("maxPool2d", "the kernel", kernel);
  requireWhole("maxPool2d", "the stride", stride);
  if (x.rank !== 4 || kernel > height || kernel > width) {
    throw new RangeError(`maxPool2d: kernel ${kernel} does not fit ${show(x.shape)}.`);
  }
  requireFloat("maxPool2d", x);
  const [rows, columns] = [height, width].map((size) => windowsIn(size, kernel, stride));
  // The primitive has channels last, as the maps of transformers have: there, nothing moves at all.
  const map = permute(x, [0, 2, 3, 1]);
  const pooled = node("maxPool", { kernel, stride }, [map], [batch, rows, columns, channels]);
  return permute(pooled, [0, 3, 1, 2]);
}

function shapeOf(
  x: Tensor,
  { kernel, stride }: { kernel: number; stride: number },
  { first, strides: [image, row, column] }: InputView,
): PoolShape {
  const [images, rows, columns, channels] = x.shape;
  return { images, rows, columns, channels, kernel, stride, first, strides: [image, row, column] };
}

/** The map may be a part of another one, but its channels lie together. */
const readsInPlace = (index: number, shape: Shape, strides: readonly number[]) =>
  index === 0 && adjacent(shape, strides, -1);

/** Rules of the forward and backward primitives. */
export const poolRules: {
  maxPool: HeavyRule<"maxPool">;
  maxPoolBackward: HeavyRule<"maxPoolBackward">;
} = {
  maxPool: {
    epilogue: true,
    readsInPlace,
    gradient: ({ inputs: [x], attributes }, g) => [
      node("maxPoolBackward", attributes, [x, g], x.shape),
    ],
    lower: ({ inputs: [x], attributes }, profile, epilogue, [view]) =>
      lowerMaxPool(shapeOf(x, attributes, view), profile, epilogue),
  },
  maxPoolBackward: {
    epilogue: true,
    readsInPlace,
    gradient: noSecondDerivative("maxPool2d"),
    lower: ({ inputs: [x], attributes }, profile, epilogue, [view]) =>
      lowerMaxPoolBackward(shapeOf(x, attributes, view), profile, epilogue),
  },
};

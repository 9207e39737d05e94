/** Kernels of the 2-D convolution and its gradients: which of them does which shape. */
import type { AdapterProfile } from "../engine/device.ts";
import { type ConvShape, isDepthwise, turned } from "./conv2d_shape.ts";
import { directConv2d } from "./conv2d_cpu.ts";
import {
  columnsConv2dInput,
  isPointwise,
  pointwiseConv2dInput,
  productConv2d,
  productConv2dWeight,
} from "./conv2d_product.ts";
import { directConv2dWeight } from "./conv2d_weight.ts";
import { depthwiseConv2d, depthwiseFits } from "./depthwise.ts";
import { type Epilogue, IDENTITY, type Lowering } from "./kernel.ts";

export { type ConvShape, convSizes } from "./conv2d_shape.ts";

function convolution(
  shape: ConvShape,
  turn: boolean,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  if (isDepthwise(shape) && depthwiseFits(shape)) {
    return depthwiseConv2d(shape, turn, profile, epilogue);
  }
  return profile.class === "gpu" || isPointwise(shape)
    ? productConv2d(shape, turn, profile, epilogue)
    : directConv2d(shape, turn, profile, epilogue);
}

/**
 * Kernels of y = conv2d(x, weight): inputs x and weight. The epilogue sees flat indices of y.
 *
 * @throws {RangeError} where the kernel exceeds the padded input or groups do not divide.
 */
export function lowerConv2d(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  return convolution(shape, false, profile, epilogue);
}

/**
 * Kernels of the gradient of x: inputs g (the gradient of y) and weight.
 *
 * @throws {RangeError} as {@link lowerConv2d}.
 */
export function lowerConv2dInput(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  if (isPointwise(shape)) return pointwiseConv2dInput(shape, profile, epilogue);
  return shape.stride.every((step) => step === 1)
    ? convolution(turned(shape), true, profile, epilogue)
    : columnsConv2dInput(shape, profile, epilogue);
}

/**
 * Kernels of the gradient of the weight: inputs x and g (the gradient of y).
 *
 * @throws {RangeError} as {@link lowerConv2d}.
 */
export function lowerConv2dWeight(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const product = isPointwise(shape) || profile.class === "gpu";
  return product && !isDepthwise(shape)
    ? productConv2dWeight(shape, profile, epilogue)
    : directConv2dWeight(shape, profile, epilogue);
}

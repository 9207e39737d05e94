/** 2-D convolutions on [B, C, H, W]. */
import {
  convSizes,
  lowerConv2d,
  lowerConv2dInput,
  lowerConv2dWeight,
} from "../../shaders/conv2d.ts";
import type { ConvAttributes } from "../attributes.ts";
import { lowered } from "../autocast.ts";
import type { HeavyRule } from "../rule.ts";
import { requireWhole, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { add } from "./elementwise.ts";
import { factors, matmul } from "./matmul.ts";
import { permute, reshape } from "./movement.ts";

/** Parameters of {@link conv2d}; one number stands for both directions. */
export interface Conv2dOptions {
  /** Step of the kernel, 1 where left out. */
  readonly stride?: number | readonly [number, number];
  /** Zeros on each side of the input. */
  readonly padding?: number | readonly [number, number];
  /** Groups of channels that are convolved apart, 1 where left out. */
  readonly groups?: number;
}

function pair(value: number | readonly [number, number]): readonly [number, number] {
  return typeof value === "number" ? [value, value] : value;
}

function convShape(x: Shape, weight: Shape, { stride, padding, groups }: ConvAttributes) {
  const [batch, channels, height, width] = x;
  const [filters, , kh, kw] = weight;
  const kernel = [kh, kw] as const;
  return { batch, channels, height, width, filters, kernel, stride, padding, groups };
}

/** Adds a value for each channel, where there is one. */
function addBias(op: string, y: Tensor, bias: Tensor | undefined): Tensor {
  if (!bias) return y;
  if (bias.rank !== 1 || bias.size !== y.shape[1]) {
    throw new RangeError(`${op}: a bias of ${show(bias.shape)} for ${y.shape[1]} channels.`);
  }
  return add(y, reshape(lowered(bias), [1, -1, 1, 1]));
}

/**
 * Convolution (cross-correlation) as `torch.nn.functional.conv2d`.
 *
 * @param x [B, C, H, W].
 * @param weight [O, C / groups, kh, kw].
 * @param bias [O].
 * @returns [B, O, (H + 2 padding - kh) / stride + 1, …] (rounded down).
 * @throws {RangeError} where shapes do not fit.
 * @throws {TypeError} where x and weight are not both f32, or both f16.
 */
export function conv2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: Conv2dOptions = {},
): Tensor {
  const { stride = 1, padding = 0, groups = 1 } = options;
  requireWhole("conv2d", "the stride", stride);
  requireWhole("conv2d", "the padding", padding, 0);
  requireWhole("conv2d", "the number of groups", groups);
  if (x.rank !== 4 || weight.rank !== 4 || weight.shape[1] * groups !== x.shape[1]) {
    throw new RangeError(
      `conv2d: weights of ${show(weight.shape)} do not fit an input of ${show(x.shape)} ` +
        `in ${groups} group(s).`,
    );
  }
  const attributes: ConvAttributes = {
    stride: pair(stride),
    padding: pair(padding),
    groups,
  };
  const shape = convShape(x.shape, weight.shape, attributes);
  const { outHeight, outWidth } = convSizes(shape);
  const size = [shape.batch, shape.filters, outHeight, outWidth];
  return addBias("conv2d", node("conv2d", attributes, factors("conv2d", x, weight), size), bias);
}

/**
 * Transposed convolution whose kernel is as large as its stride, so that outputs do not overlap, as
 * `torch.nn.functional.conv_transpose2d`.
 *
 * @param x [B, C, H, W].
 * @param weight [C, O, k, k].
 * @param bias [O].
 * @returns [B, O, H k, W k].
 * @throws {RangeError} where shapes do not fit or the kernel is not as large as the stride.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  options: { readonly stride?: number | readonly [number, number] } = {},
): Tensor {
  const [sy, sx] = pair(options.stride ?? 1);
  if (x.rank !== 4 || weight.rank !== 4 || weight.shape[0] !== x.shape[1]) {
    throw new RangeError(
      `convTranspose2d: weights of ${show(weight.shape)} do not fit an input of ${show(x.shape)}.`,
    );
  }
  const [batch, channels, height, width] = x.shape;
  const [, filters, kh, kw] = weight.shape;
  if (kh !== sy || kw !== sx) {
    throw new RangeError(
      `convTranspose2d: a ${kh}x${kw} kernel with stride ${sy}x${sx} is not supported; ` +
        `both must be the same.`,
    );
  }
  const pixels = reshape(x, [batch, channels, height * width]);
  const y = matmul(reshape(weight, [channels, filters * kh * kw]), pixels, { transA: true });
  const blocks = permute(reshape(y, [batch, filters, kh, kw, height, width]), [0, 1, 4, 2, 5, 3]);
  const out = reshape(blocks, [batch, filters, height * kh, width * kw]);
  return addBias("convTranspose2d", out, bias);
}

function noSecondDerivative(op: string): () => never {
  return () => {
    throw new Error(`${op}: second derivatives of convolutions are not supported.`);
  };
}

/** Gradient and kernels of conv2d. */
export const conv2dRule: HeavyRule<"conv2d"> = {
  gradient: ({ inputs: [x, weight], attributes }, g, needs) => {
    const [, , height, width] = x.shape;
    const [, , kh, kw] = weight.shape;
    const toInput = () =>
      node("conv2dInput", { ...attributes, height, width }, [g, weight], x.shape);
    const toWeight = () =>
      node("conv2dWeight", { ...attributes, kernel: [kh, kw] }, [x, g], weight.shape);
    return [needs[0] ? toInput() : undefined, needs[1] ? toWeight() : undefined];
  },
  epilogue: true,
  lower: ({ inputs: [x, weight], attributes }, profile, epilogue) =>
    lowerConv2d(convShape(x.shape, weight.shape, attributes), profile, epilogue),
};

/** Kernels of the gradient of conv2d's input. */
export const conv2dInputRule: HeavyRule<"conv2dInput"> = {
  gradient: noSecondDerivative("conv2dInput"),
  epilogue: true,
  lower: ({ inputs: [, weight], shape, attributes }, profile, epilogue) =>
    lowerConv2dInput(convShape(shape, weight.shape, attributes), profile, epilogue),
};

/** Kernels of the gradient of conv2d's weight. */
export const conv2dWeightRule: HeavyRule<"conv2dWeight"> = {
  gradient: noSecondDerivative("conv2dWeight"),
  epilogue: true,
  lower: ({ inputs: [x], shape, attributes }, profile, epilogue) =>
    lowerConv2dWeight(convShape(x.shape, shape, attributes), profile, epilogue),
};

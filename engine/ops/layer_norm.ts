/** Layer normalisation along the last dimension, or along the channels of [B, C, H, W]. */
import { lowerLayerNorm, lowerLayerNormBackward } from "../../shaders/layer_norm.ts";
import { raised } from "../autocast.ts";
import { requireFloat } from "../dtype.ts";
import type { HeavyRule } from "../rule.ts";
import { axisView, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { mul, sub } from "./elementwise.ts";
import { reshape } from "./movement.ts";
import { sum } from "./reduce.ts";
import { noSecondDerivative } from "./second_derivative.ts";

function along(
  x: Tensor,
  dim: number,
  weight: Tensor,
  bias: Tensor,
  eps: number,
  op: string,
): Tensor {
  for (const operand of [x, weight, bias]) requireFloat(op, operand);
  const view = axisView(x.shape, dim);
  if (weight.size !== view.size || bias.size !== view.size) {
    throw new RangeError(
      `${op}: weight ${show(weight.shape)} and bias ${show(bias.shape)} do not fit ${
        show(x.shape)
      }.`,
    );
  }
  return node("layerNorm", { ...view, eps }, [x, weight, bias].map(raised), x.shape);
}

/** (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension. */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5): Tensor {
  return along(x, x.rank - 1, weight, bias, eps, "layerNorm");
}

/** The same over the channels of [B, C, H, W], at every position by itself. */
export function layerNorm2d(x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-6): Tensor {
  if (x.rank !== 4) throw new RangeError(`layerNorm2d: ${show(x.shape)} is not [B, C, H, W].`);
  return along(x, 1, weight, bias, eps, "layerNorm2d");
}

/** Shapes of x and of its statistics around the normalised dimension. */
function shapes({ outer, size, inner }: { outer: number; size: number; inner: number }) {
  return { full: [outer, size, inner] as Shape, line: [outer, 1, inner] as Shape };
}

/** Rules of the forward and backward primitives. */
export const layerNormRules: {
  layerNorm: HeavyRule<"layerNorm">;
  layerNormBackward: HeavyRule<"layerNormBackward">;
} = {
  layerNorm: {
    epilogue: true,
    extraOutputs: ({ attributes: { outer, inner } }) => [
      { shape: [outer, inner], dtype: "f32" },
      { shape: [outer, inner], dtype: "f32" },
    ],
    gradient: (n, g, needs) => {
      const { outer, size, inner } = n.attributes;
      const [x, weight, bias] = n.inputs;
      const mean = node("output", { index: 1 }, [n], [outer, inner], "f32");
      const rstd = node("output", { index: 2 }, [n], [outer, inner], "f32");
      const { full, line } = shapes(n.attributes);
      const upstream = reshape(g, full);
      const centred = () => sub(reshape(x, full), reshape(mean, line));
      return [
        needs[0]
          ? node("layerNormBackward", { outer, size, inner }, [x, weight, mean, rstd, g], x.shape)
          : undefined,
        needs[1]
          ? reshape(sum(mul(upstream, mul(centred(), reshape(rstd, line))), [0, 2]), weight.shape)
          : undefined,
        needs[2] ? reshape(sum(upstream, [0, 2]), bias.shape) : undefined,
      ];
    },
    lower: ({ attributes }, profile, epilogue) =>
      lowerLayerNorm(attributes, attributes.eps, profile, epilogue),
  },
  layerNormBackward: {
    epilogue: true,
    gradient: noSecondDerivative("layerNorm"),
    lower: ({ attributes }, profile, epilogue) =>
      lowerLayerNormBackward(attributes, profile, epilogue),
  },
};

/** Layer normalisation along an axis (the last, or the channels of [B, C, H, W]) and its gradient. */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import type { Epilogue, Lowering } from "./kernel.ts";
import { lowerLines } from "./lines.ts";

const mean = (total: string) => `${total} * inverse`;

/**
 * in0: x, in1: weight [size], in2: bias [size]; out0: y, out1: mean, out2: reciprocal standard
 * deviation (each [outer, inner]). The variance is taken in a second pass, about the mean.
 */
export function lowerLayerNorm(
  view: AxisView,
  eps: number,
  profile: AdapterProfile,
  epilogue?: Epilogue,
): Lowering {
  return lowerLines(
    {
      label: "layerNorm",
      inputs: [
        { name: "x", kind: "element" },
        { name: "weight", kind: "axis" },
        { name: "bias", kind: "axis" },
      ],
      constants: { inverse: 1 / view.size, epsilon: eps },
      reductions: [
        { name: "mean", kind: "sum", term: "x", finish: mean },
        {
          name: "rstd",
          kind: "sum",
          term: "(x - mean) * (x - mean)",
          finish: (total) => `inverseSqrt(${mean(total)} + epsilon)`,
        },
      ],
      result: "(x - mean) * rstd * weight + bias",
      lineOutputs: [{ name: "mean", value: "mean" }, { name: "rstd", value: "rstd" }],
    },
    view,
    profile,
    epilogue,
  );
}

/** in0: x, in1: weight, in2: mean, in3: rstd, in4: g; out0: the gradient of x. */
export function lowerLayerNormBackward(
  view: AxisView,
  profile: AdapterProfile,
  epilogue?: Epilogue,
): Lowering {
  return lowerLines(
    {
      label: "layerNormBackward",
      inputs: [
        { name: "x", kind: "element" },
        { name: "weight", kind: "axis" },
        { name: "mean", kind: "line" },
        { name: "rstd", kind: "line" },
        { name: "g", kind: "element" },
      ],
      constants: { inverse: 1 / view.size },
      reductions: [
        { name: "first", kind: "sum", term: "g * weight", finish: mean },
        { name: "second", kind: "sum", term: "g * weight * ((x - mean) * rstd)", finish: mean },
      ],
      result: "rstd * (g * weight - first - (x - mean) * rstd * second)",
    },
    view,
    profile,
    epilogue,
  );
}

/** The operators of the `ops` fixtures in terms of the engine. */
import {
  abs,
  add,
  amax,
  amin,
  applyRotary,
  axialRotary,
  bceWithLogits,
  cat,
  clamp,
  conv2d,
  convTranspose2d,
  cos,
  crossEntropy,
  cumsum,
  diceLoss,
  div,
  einsum,
  exp,
  gelu,
  gt,
  indexSelect,
  interpolate,
  l1Loss,
  layerNorm,
  layerNorm2d,
  linear,
  log,
  logSoftmax,
  matmul,
  maxPool2d,
  mean,
  mseLoss,
  mul,
  padZeros,
  permute,
  relu,
  repeatInterleave,
  scaledDotProductAttention,
  sigmoid,
  sigmoidFocalLoss,
  silu,
  sin,
  softmax,
  softplus,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  type Tensor,
  tensor,
  tile,
  variance,
  where,
  windowPartition,
  windowUnpartition,
} from "../../../engine/mod.ts";
import type { ResampleMode } from "../../../engine/ops/resample_tables.ts";

/** Attributes of a case as the manifest has them. */
export type OpAttributes = Readonly<Record<string, unknown>>;

/** Builds the result of a case from its inputs. */
type Operator = (x: Readonly<Record<string, Tensor>>, attrs: OpAttributes) => Tensor;

const num = (attrs: OpAttributes, key: string) => attrs[key] as number;
const dims = (attrs: OpAttributes) => (attrs.dim ?? undefined) as number[] | undefined;
const reduction = (attrs: OpAttributes) => ({ reduction: attrs.reduction as "mean" | "none" });

/** Class numbers [B, ...] from values in [-1, 1): floor((t + 1) / 2 * C), at most C - 1. */
function classTarget(t: Tensor, classes: number): Tensor {
  const values = Uint32Array.from(
    t.host!,
    (v) => Math.min(Math.max(Math.floor((v + 1) * 0.5 * classes), 0), classes - 1),
  );
  return tensor(values, t.shape);
}

const positive = (t: Tensor) => gt(t, 0);

function resize(x: Tensor, attrs: OpAttributes): Tensor {
  const mode = attrs.mode as ResampleMode;
  const antialias = attrs.antialias === true;
  return attrs.size === undefined
    ? interpolate(x, { scaleFactor: num(attrs, "scale_factor"), mode, antialias })
    : interpolate(x, { size: attrs.size as [number, number], mode, antialias });
}

function rotary(x: Readonly<Record<string, Tensor>>, attrs: OpAttributes): Tensor {
  const [dim, width, height] = ["dim", "end_x", "end_y"].map((key) => num(attrs, key));
  const { cos, sin } = axialRotary(dim, width, height, num(attrs, "theta"));
  return applyRotary(x[attrs.returns as string], cos, sin);
}

function roundTrip(x: Tensor, window: number): Tensor {
  const { windows, padded } = windowPartition(x, window);
  return windowUnpartition(gelu(windows), window, padded, [x.shape[1], x.shape[2]]);
}

/** Operators by the manifest's `op`. */
export const OPERATORS: Readonly<Record<string, Operator>> = {
  conv2d: ({ x, weight, bias }, a) =>
    conv2d(x, weight, bias, {
      stride: num(a, "stride"),
      padding: num(a, "padding"),
      groups: num(a, "groups"),
    }),
  conv_transpose2d: ({ x, weight, bias }, a) =>
    convTranspose2d(x, weight, bias, { stride: num(a, "stride") }),
  layer_norm: ({ x, weight, bias }, a) => layerNorm(x, weight, bias, num(a, "eps")),
  LayerNorm2d: ({ x, weight, bias }, a) => layerNorm2d(x, weight, bias, num(a, "eps")),
  gelu_erf: ({ x }) => gelu(x),
  relu: ({ x }) => relu(x),
  sigmoid: ({ x }) => sigmoid(x),
  softplus: ({ x }) => softplus(x),
  tanh: ({ x }) => tanh(x),
  exp: ({ x }) => exp(x),
  sin: ({ x }) => sin(x),
  cos: ({ x }) => cos(x),
  sqrt_abs: ({ x }) => sqrt(add(abs(x), 0.1)),
  silu: ({ x }) => silu(x),
  log: ({ x }) => log(add(square(x), 0.5)),
  softmax: ({ x }, a) => softmax(x, num(a, "dim")),
  log_softmax: ({ x }, a) => logSoftmax(x, num(a, "dim")),
  scaled_dot_product_attention: ({ q, k, v, mask }, a) =>
    scaledDotProductAttention(q, k, v, { mask, causal: a.is_causal === true }),
  apply_rotary_enc: rotary,
  max_pool2d: ({ x }, a) => maxPool2d(x, { kernel: num(a, "kernel"), stride: num(a, "stride") }),
  interpolate: ({ x }, a) => resize(x, a),
  window_partition: ({ x }, a) => windowPartition(x, num(a, "window")).windows,
  "window_unpartition(gelu(window_partition))": ({ x }, a) => roundTrip(x, num(a, "window")),
  cross_entropy: ({ x, target_u }, a) =>
    crossEntropy(x, classTarget(target_u, x.shape[1]), reduction(a)),
  binary_cross_entropy_with_logits: ({ x, target_u }, a) =>
    bceWithLogits(x, positive(target_u), reduction(a)),
  "training dice_loss": ({ x, target_u }, a) =>
    diceLoss(x, positive(target_u), { objects: num(a, "num_objects") }),
  "training sigmoid_focal_loss": ({ x, target_u }, a) =>
    sigmoidFocalLoss(x, positive(target_u), {
      objects: num(a, "num_objects"),
      alpha: num(a, "alpha"),
      gamma: num(a, "gamma"),
    }),
  mse_loss: ({ x, y }) => mseLoss(x, y),
  l1_loss: ({ x, y }) => l1Loss(x, y),
  matmul: ({ a, b }) => matmul(a, b),
  linear: ({ x, weight, bias }) => linear(x, weight, bias),
  einsum: ({ a, b }, attrs) => einsum(attrs.equation as string, a, b),
  add: ({ a, b }) => add(a, b),
  sub: ({ a, b }) => sub(a, b),
  mul: ({ a, b }) => mul(a, b),
  div: ({ a, b }) => div(a, add(square(b), 0.5)),
  sum: ({ x }, a) => sum(x, dims(a), a.keepdim === true),
  mean: ({ x }, a) => mean(x, dims(a), a.keepdim === true),
  amax: ({ x }, a) => amax(x, dims(a), a.keepdim === true),
  amin: ({ x }, a) => amin(x, dims(a), a.keepdim === true),
  var: ({ x }, a) => variance(x, dims(a), a.keepdim === true, { unbiased: a.unbiased === true }),
  cat: ({ a, b }, attrs) => cat([a, b], num(attrs, "dim")),
  permute: ({ x }, a) => permute(x, a.dims as number[]),
  pad: ({ x }) => padZeros(x, [[0, 0], [0, 3], [0, 2], [0, 0]]),
  tile: ({ x }, a) => tile(x, a.reps as number[]),
  repeat_interleave: ({ x }, a) => repeatInterleave(x, num(a, "repeats"), num(a, "dim")),
  cumsum: ({ x }, a) => cumsum(x, num(a, "dim")),
  clamp: ({ x }, a) => clamp(x, num(a, "min"), num(a, "max")),
  where: ({ c, a, b }) => where(gt(c, 0), a, b),
  index_select: ({ x }, a) =>
    indexSelect(x, num(a, "dim"), tensor(Uint32Array.from(a.index as number[]))),
};

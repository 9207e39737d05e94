/** The primitives and their attributes: the vocabulary of the graph. */
import type { AxisView } from "./shape.ts";
import type { DType } from "./dtype.ts";

/** For primitives without attributes. */
export type None = Record<never, never>;

/** Elementwise functions of one tensor. */
export interface UnaryAttributes {
  /** -x */
  neg: None;
  /** |x| */
  abs: None;
  /** -1, 0 or 1. */
  sign: None;
  /** The largest integer that is not above x. */
  floor: None;
  /** e^x */
  exp: None;
  /** Natural logarithm. */
  log: None;
  /** Square root. */
  sqrt: None;
  /** 1 / sqrt(x) */
  rsqrt: None;
  /** Sine of radians. */
  sin: None;
  /** Cosine of radians. */
  cos: None;
  /** Hyperbolic tangent. */
  tanh: None;
  /** 1 / (1 + e^-x) */
  sigmoid: None;
  /** The error function. */
  erf: None;
  /** log(1 + e^x) */
  softplus: None;
  /** max(x, 0) */
  relu: None;
  /** Reinterprets the bits of the element. */
  bitcast: { readonly to: DType };
  /** Converts the value to another element type. */
  cast: { readonly to: DType };
}

/** Elementwise functions of two tensors of one shape. */
export interface BinaryAttributes {
  /** a + b */
  add: None;
  /** a - b */
  sub: None;
  /** a b */
  mul: None;
  /** a / b */
  div: None;
  /** a^b */
  pow: None;
  /** The larger one. */
  maximum: None;
  /** The smaller one. */
  minimum: None;
  /** Comparisons give 1 or 0 as f32. */
  lt: None;
  /** 1 where a <= b. */
  le: None;
  /** 1 where a = b. */
  eq: None;
  /** Integer ops on u32. */
  xor: None;
  /** a >> b on u32. */
  shiftRight: None;
}

/** Nodes that fuse into the kernels which read them. */
export interface FusedAttributes extends UnaryAttributes, BinaryAttributes {
  /** One value everywhere. */
  constant: { readonly value: number };
  /** The flat index of each element, u32. */
  iota: None;
  /** `where(condition, a, b)`: a where the condition is not 0. */
  where: None;
  /** The same elements, row-major, in another shape. */
  reshape: None;
  /** Dimension i of the result is dimension `dims[i]` of the input. */
  permute: { readonly dims: readonly number[] };
  /** Repeats dimensions of size 1. */
  expand: None;
  /** `out[i] = in[start + i * step]` in each dimension; steps may be negative. */
  slice: { readonly start: readonly number[]; readonly step: readonly number[] };
  /** Zeros before and after each dimension. */
  pad: { readonly before: readonly number[]; readonly after: readonly number[] };
  /** Rows of dimension `dim` chosen by a u32 or i32 vector. */
  indexSelect: { readonly dim: number };
  /** Identity that stops gradients. */
  detach: None;
}

/** Attributes of a 2-D convolution on [B, C, H, W]. */
export interface ConvAttributes {
  /** Step, [vertical, horizontal]. */
  readonly stride: readonly [number, number];
  /** Zeros on each side of the input, [vertical, horizontal]. */
  readonly padding: readonly [number, number];
  /** Groups of channels that are convolved apart. */
  readonly groups: number;
}

/** Nodes with kernels of their own. */
export interface HeavyAttributes {
  /** Sum over dimensions; sizes become 1. */
  sum: { readonly dims: readonly number[] };
  /** Largest value over dimensions; sizes become 1. */
  amax: { readonly dims: readonly number[] };
  /** Index of the first largest value along the middle of the view, u32. */
  argmax: { readonly dim: number };
  /** Joins tensors along a dimension. */
  cat: { readonly dim: number };
  /** Extra output `index` of its input node. */
  output: { readonly index: number };
  /** a [A, M, K] (or [A, K, M]) times b [B, K, N] (or [B, N, K]), A = B or one of them 1. */
  matmul: { readonly transA: boolean; readonly transB: boolean };
  /** x [B, C, H, W], weight [O, C / groups, kh, kw]. */
  conv2d: ConvAttributes;
  /** Gradient of conv2d with regard to x: inputs g, weight. */
  conv2dInput: ConvAttributes & { readonly height: number; readonly width: number };
  /** Gradient of conv2d with regard to the weight: inputs x, g. */
  conv2dWeight: ConvAttributes & { readonly kernel: readonly [number, number] };
  /**
   * q [B, N, H, D], k and v [B, M, H, D], optional additive mask [., ., N, M]; outputs: the result
   * [B, N, H, D], log-sum-exp [B, H, N].
   */
  attention: { readonly scale: number; readonly causal: boolean; readonly masked: boolean };
  /** Inputs q, k, v, out, lse, g (, mask); outputs dq, dk, dv (, ds [B, H, N, M]). */
  attentionBackward: {
    readonly scale: number;
    readonly causal: boolean;
    readonly masked: boolean;
    readonly maskGradient: boolean;
  };
  /** x [B, H, W, C]: the largest value of each window. */
  maxPool: { readonly kernel: number; readonly stride: number };
  /** Inputs x, g. */
  maxPoolBackward: { readonly kernel: number; readonly stride: number };
  /** e^x over its sum, along the middle of the view. */
  softmax: AxisView;
  /** Logarithm of the softmax along the middle of the view. */
  logSoftmax: AxisView;
  /** Inputs y, g. */
  softmaxBackward: AxisView;
  /** Inputs y = log softmax, g. */
  logSoftmaxBackward: AxisView;
  /** Inputs x, weight, bias; outputs y, mean, rstd (each [outer, inner]). */
  layerNorm: AxisView & { readonly eps: number };
  /** Inputs x, weight, mean, rstd, g. */
  layerNormBackward: AxisView;
  /** Running sum along the middle of the view, from the end with `reverse`. */
  cumsum: AxisView & { readonly reverse: boolean };
  /** Inputs x [outer, size, inner], starts i32 [length], weights [length, taps]. */
  resample: AxisView & { readonly length: number; readonly taps: number };
  /** Inputs g [outer, n, inner], index [n]; sums rows into [outer, size, inner]. */
  indexAdd: AxisView;
  /** Inputs p, q [B, C, H, W]; outputs S [B], its slopes [B, 2, C] in each value of p and of q. */
  dfeSimilarity: None;
  /** Inputs p, q, p mapped, q mapped [B, C, H, W], S [B]. */
  dfeCombine: None;
  /** Inputs of dfeCombine, g; outputs the gradients of those inputs. */
  dfeCombineBackward: None;
}

/** Attributes of each primitive. */
export interface Attributes extends FusedAttributes, HeavyAttributes {
  /** Values from the host or from GPU memory. */
  leaf: None;
}

/** Name of a primitive. */
export type Primitive = keyof Attributes;

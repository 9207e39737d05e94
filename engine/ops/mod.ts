/** All ops that build graph nodes. */
export { bitcast, cast } from "./cast.ts";
export {
  abs,
  add,
  arange,
  clamp,
  cos,
  detach,
  div,
  eq,
  erf,
  exp,
  floor,
  full,
  ge,
  gelu,
  gt,
  le,
  log,
  logicalAnd,
  logicalNot,
  lt,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  ones,
  type Operand,
  pad,
  pow,
  reciprocal,
  relu,
  rsqrt,
  scalar,
  shiftRight,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  sub,
  tanh,
  where,
  xor,
  zeros,
} from "./elementwise.ts";
export {
  cat,
  expand,
  flatten,
  flip,
  indexSelect,
  narrow,
  padZeros,
  permute,
  repeatInterleave,
  reshape,
  select,
  slice,
  split,
  squeeze,
  stack,
  tile,
  transpose,
  unsqueeze,
} from "./movement.ts";
export { amax, argmax, type Dims, sum } from "./reduce.ts";
export { amin, logsumexp, mean, norm, variance } from "./statistics.ts";
export { batchNorm2d, type BatchNormOptions, type RunningStats } from "./batch_norm.ts";
export { embedding, oneHot, takeAlong } from "./indexing.ts";
export { cumsum } from "./cumsum.ts";
export { dfeCombine, dfeSimilarity } from "./dfe.ts";
export { interpolate, type InterpolateOptions } from "./interpolate.ts";
export type { Band, ResampleMode } from "./resample_tables.ts";
export { resample } from "./resample.ts";
export { maxPool2d } from "./pool.ts";
export {
  dropout,
  foldKey,
  randomBernoulli,
  randomBits,
  randomKey,
  randomKeyData,
  randomNormal,
  randomUniform,
} from "./random.ts";
export { applyRotary, axialRotary, type RotaryTables } from "./rope.ts";
export { windowPartition, type Windows, windowUnpartition } from "./window.ts";
export { conv2d, type Conv2dOptions as Conv2dParameters, convTranspose2d } from "./conv2d.ts";
export { layerNorm, layerNorm2d } from "./layer_norm.ts";
export { linear } from "./linear.ts";
export { matmul, type MatmulOptions } from "./matmul.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export { type AttentionOptions, scaledDotProductAttention } from "./attention.ts";
export { einsum } from "./einsum.ts";

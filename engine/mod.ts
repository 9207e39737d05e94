/** The engine: tensors, automatic differentiation and evaluation on WebGPU. */
export type {
  Attributes,
  BinaryAttributes,
  ConvAttributes,
  FusedAttributes,
  HeavyAttributes,
  None as NoAttributes,
  Primitive,
  UnaryAttributes,
} from "./attributes.ts";
export { autocast, type Precision } from "./autocast.ts";
export { gradients } from "./autograd.ts";
export {
  type AdapterProfile,
  type Device,
  device,
  NoAdapterError,
  openDevice,
  type TileChoices,
} from "./device.ts";
export { checkpoint } from "./gradient_checkpoint.ts";
export type { DType, TypedArray } from "./dtype.ts";
export {
  dispose,
  evaluate,
  forgetPlans,
  read,
  readAll,
  type Request,
  reserve,
  runtime,
  submit,
  useFusion,
  useSchedule,
} from "./evaluate.ts";
export { constant, type GraphSegment, leaf, type Storage, Tensor, tensor } from "./tensor.ts";
export { type ArenaSize, MemoryError, type MemoryLimits, type PlanMemory } from "./memory.ts";
export { isUserError, UserError } from "./errors.ts";
export type { Counters, Pass, Pipeline, Runtime, Watcher } from "./runtime.ts";
export type { SizesPool } from "./sizes_pool.ts";
export type { Kernel, Sizes } from "../shaders/kernel.ts";
export { type AxisView, numel, sameShape, type Shape, show } from "./shape.ts";
export * from "./ops/mod.ts";
export * from "./losses.ts";

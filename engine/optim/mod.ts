/** Optimisation: flat parameters, AdamW, schedules and moving averages. */
export { AdamW, type AdamWOptions, type AdamWState } from "./adamw.ts";
export { Ema, emaDecay } from "./ema.ts";
export {
  type FlatOptions,
  FlatParameters,
  type NamedParameter,
  type Segment,
} from "./flat_parameters.ts";
export {
  GradScaler,
  type GradScalerOptions,
  type GradScalerState,
  scalerState,
} from "./grad_scaler.ts";
export type { ScalerRule } from "../../shaders/grad_scaler.ts";
export { GradientAccumulator } from "./gradient_accumulator.ts";
export { constantRate, cosine, poly, type Schedule, type ScheduleOptions } from "./schedules.ts";

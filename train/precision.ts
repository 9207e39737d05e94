/** What training computes with: f32, or f16 with f32 where that matters. */
import { autocast } from "../engine/mod.ts";
import { GradScaler } from "../engine/optim/mod.ts";

/** `f16`: mixed precision, with weights, gradients and moments in f32 and the loss scaled. */
export type Precision = "f32" | "f16";

/** How the graph of a step is built. */
export interface MixedPrecision {
  /** Builds a part of the graph in the precision of the run. */
  readonly build: <T>(part: () => T) => T;
  /** The loss scale, in mixed precision. */
  readonly scaler: GradScaler | undefined;
}

/** The tools of a precision. */
export async function mixedPrecision(precision: Precision = "f32"): Promise<MixedPrecision> {
  return {
    build: (part) => autocast(precision, part),
    scaler: precision === "f16" ? await GradScaler.create() : undefined,
  };
}

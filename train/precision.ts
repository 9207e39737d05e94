/** What commands compute with: f32, or f16 with f32 where that matters. */
import { requireF16 } from "../engine/device.ts";
import { autocast, device, type Precision } from "../engine/mod.ts";
import { GradScaler } from "../engine/optim/mod.ts";

/** How the graph of a training step is built. */
export interface MixedPrecision {
  /** Builds a part of the graph in the precision of the run. */
  readonly build: <T>(part: () => T) => T;
  /** The loss scale, in mixed precision. */
  readonly scaler: GradScaler | undefined;
}

/**
 * Checks a precision before anything else is done.
 *
 * @throws {UserError} where the adapter does not offer it.
 */
export async function requirePrecision(precision: Precision = "f32"): Promise<void> {
  if (precision === "f16") requireF16(await device());
}

/**
 * The tools of a training's precision; with `f16`, weights, gradients and moments stay f32.
 *
 * @throws {UserError} where the adapter does not offer it.
 */
export async function mixedPrecision(precision: Precision = "f32"): Promise<MixedPrecision> {
  await requirePrecision(precision);
  return {
    build: (part) => autocast(precision, part),
    scaler: precision === "f16" ? await GradScaler.create() : undefined,
  };
}

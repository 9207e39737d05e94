/** Dynamic loss scaling: small gradients survive f16, and steps whose gradients overflow are left out. */
import { SCALER_STATE, type ScalerRule } from "../../shaders/grad_scaler.ts";
import { runtime } from "../evaluate.ts";
import { cast } from "../ops/cast.ts";
import { mul } from "../ops/elementwise.ts";
import { narrow, reshape } from "../ops/movement.ts";
import type { Runtime } from "../runtime.ts";
import { requireWhole } from "../shape.ts";
import { leaf, type Tensor } from "../tensor.ts";
import { readFloats, writeFloats } from "./flat_buffer.ts";

/** Options of {@link GradScaler.create}. Powers of two change no digit of gradients that stay finite. */
export interface GradScalerOptions {
  /** Factor of the first losses, 65536 where left out. */
  readonly initialScale?: number;
  /** What the scale is multiplied with after `growthInterval` updates in a row, 2 where left out. */
  readonly growthFactor?: number;
  /** What it is multiplied with after an overflow, 0.5 where left out. */
  readonly backoffFactor?: number;
  /** Updates in a row after which the scale grows, 2000 where left out. */
  readonly growthInterval?: number;
}

/** What is saved of a scaler. */
export interface GradScalerState {
  /** Factor of the next loss. */
  readonly scale: number;
  /** Updates since the scale changed or one was skipped. */
  readonly steady: number;
  /** Updates that have changed the parameters. */
  readonly taken: number;
  /** Updates that were skipped, since gradients were not finite. */
  readonly skipped: number;
}

/**
 * The scale of a loss, as `torch.amp.GradScaler`: it is kept, tested and changed on the device, so that
 * no step waits for the host. Given to `AdamW.create`, it divides gradients by the scale before they are
 * clipped, and where their norm is not finite the update changes neither parameters nor moments.
 *
 * @example A step in mixed precision
 * ```ts
 * import { AdamW, autocast, FlatParameters, gradients, GradScaler, Linear, mean, square, submit, tensor } from "sam2";
 *
 * const layer = new Linear(2, 1);
 * const weights = await FlatParameters.create(layer, { seed: 1 });
 * const scaler = await GradScaler.create();
 * const optimizer = await AdamW.create(weights, { scaler });
 *
 * const x = tensor([1, 2, 3, 4], [2, 2]);
 * const loss = autocast("f16", () => mean(square(layer.forward(x))));
 * const grads = gradients(scaler.scaled(loss), weights.trainable);
 * await submit({ write: weights.gradientTargets(grads) });
 * optimizer.update(1e-3);
 * console.log((await scaler.read()).taken); // 1
 * ```
 */
export class GradScaler {
  /** [4], f32: scale, updates since it changed, updates taken, updates skipped; after the last update. */
  readonly state: Tensor;

  private constructor(
    private readonly runtime: Runtime,
    private readonly buffer: GPUBuffer,
    /** How the scale changes. */
    readonly rule: ScalerRule,
  ) {
    this.state = leaf({ buffer, offset: 0 }, [SCALER_STATE]);
  }

  /**
   * Allocates the state of a scaler for one optimiser.
   *
   * @throws {RangeError} where the scale would be no positive number, would not grow or not back off.
   */
  static async create(options: GradScalerOptions = {}): Promise<GradScaler> {
    const rt = await runtime();
    const { initialScale = 65536, growthFactor = 2, backoffFactor = 0.5 } = options;
    const { growthInterval = 2000 } = options;
    requireWhole("GradScaler", "the growth interval", growthInterval);
    if (!(initialScale > 0 && initialScale < Infinity)) {
      throw new RangeError(
        `GradScaler: the first scale is ${initialScale}, not positive and finite.`,
      );
    }
    if (!(growthFactor >= 1 && growthFactor < Infinity && backoffFactor > 0 && backoffFactor < 1)) {
      throw new RangeError(
        `GradScaler: with factors of ${growthFactor} and ${backoffFactor} the scale does not grow (from ` +
          "1 on) or does not back off (between 0 and 1).",
      );
    }
    const rule = { growth: growthFactor, backoff: backoffFactor, interval: growthInterval };
    const scaler = new GradScaler(rt, rt.createBuffer(SCALER_STATE * 4), rule);
    scaler.load({ scale: initialScale, steady: 0, taken: 0, skipped: 0 });
    return scaler;
  }

  /** The loss, a scalar, times the scale: its gradients are what the optimiser is to be given. */
  scaled(loss: Tensor): Tensor {
    return mul(cast(loss, "f32"), reshape(narrow(this.state, 0, 0, 1), loss.shape));
  }

  /** The state after the last update; waits for it. */
  async read(): Promise<GradScalerState> {
    return scalerState(await readFloats(this.runtime, this.buffer, 0, SCALER_STATE));
  }

  /** Continues from a saved state. */
  load({ scale, steady, taken, skipped }: GradScalerState): void {
    writeFloats(this.runtime, this.buffer, 0, Float32Array.of(scale, steady, taken, skipped));
  }

  /** Frees the GPU memory. */
  destroy(): void {
    this.runtime.destroyBuffer(this.buffer);
  }
}

/** The values of {@link GradScaler.state} by name. */
export function scalerState(values: ArrayLike<number>): GradScalerState {
  return { scale: values[0], steady: values[1], taken: values[2], skipped: values[3] };
}

/** Steps of several micro-batches, one after the other. */
import type { GradScalerState } from "../engine/optim/mod.ts";

/** What a micro-batch, or a whole step, comes to. */
export interface MicroBatch {
  /** The whole loss, as `loss`, and its terms. */
  readonly losses: Readonly<Record<string, number>>;
  /** Images that passed an encoder. */
  readonly images: number;
  /** Milliseconds on the host, without any waiting. */
  readonly hostMs: number;
  /** The loss scale before the step, in mixed precision. */
  readonly scaler?: GradScalerState;
}

/** Runs `count` micro-batches: means of their losses, sums of the rest. */
export async function inTurn(
  count: number,
  run: (index: number) => Promise<MicroBatch>,
): Promise<MicroBatch> {
  const sums = new Map<string, number>();
  let [images, hostMs] = [0, 0];
  let scaler: GradScalerState | undefined;
  for (let i = 0; i < count; i++) {
    const part = await run(i);
    for (const [name, value] of Object.entries(part.losses)) {
      sums.set(name, (sums.get(name) ?? 0) + value);
    }
    images += part.images;
    hostMs += part.hostMs;
    scaler = part.scaler;
  }
  const losses = Object.fromEntries([...sums].map(([name, sum]) => [name, sum / count]));
  return { losses, images, hostMs, ...scaler && { scaler } };
}

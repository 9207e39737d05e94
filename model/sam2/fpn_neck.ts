/** The feature pyramid between trunk and heads. */
import { add, interpolate, type Tensor } from "../../engine/mod.ts";
import { Conv2d, Module } from "../../engine/nn/mod.ts";
import { sinePositionEncoding } from "./position_encoding.ts";
import type { Trace } from "./trace.ts";

/** A convolution 1 x 1 that brings one stage to the common width. */
export class Lateral extends Module {
  /** The convolution. */
  readonly conv: Conv2d;

  /** From `inputs` to `outputs` channels. */
  constructor(inputs: number, outputs: number) {
    super();
    this.conv = new Conv2d(inputs, outputs, 1);
  }
}

/** Maps of all levels, finest first, and their sine position encodings [1, dim, H, W]. */
export interface PyramidFeatures {
  /** Maps [B, dim, H, W]. */
  readonly levels: readonly Tensor[];
  /** Position encodings [1, dim, H, W]. */
  readonly positions: readonly Tensor[];
}

/** Brings all stages to one width and adds coarse levels to finer ones. */
export class FpnNeck extends Module {
  /** Coarsest level first, as in the state dict. */
  readonly convs: readonly Lateral[];

  /**
   * Builds one lateral per stage.
   *
   * @param channels of each stage, finest first.
   * @param topDownLevels levels that take part in the top-down path.
   */
  constructor(
    channels: readonly number[],
    private readonly dim: number,
    private readonly topDownLevels: readonly number[],
  ) {
    super();
    this.convs = [...channels].reverse().map((inputs) => new Lateral(inputs, dim));
  }

  /** Stages [B, C, H, W], finest first, to levels [B, dim, H, W]. */
  forward(stages: readonly Tensor[], trace?: Trace): PyramidFeatures {
    const levels: Tensor[] = [];
    for (let i = stages.length - 1; i >= 0; i--) {
      const lateral = this.convs[stages.length - 1 - i].conv.forward(stages[i]);
      const coarser = this.topDownLevels.includes(i) ? levels[i + 1] : undefined;
      levels[i] = coarser
        ? add(lateral, interpolate(coarser, { scaleFactor: 2, mode: "nearest" }))
        : lateral;
    }
    const positions = levels.map(({ shape }) => sinePositionEncoding(this.dim, shape[2], shape[3]));
    levels.forEach((level, i) => trace?.(`out.${i}`, level));
    positions.forEach((position, i) => trace?.(`pos.${i}`, position));
    return { levels, positions };
  }
}

import type { Tensor } from "../../engine/mod.ts";
import { Module } from "../../engine/nn/mod.ts";
import type { Sam2Config } from "../config.ts";
import { FpnNeck, type PyramidFeatures } from "./fpn_neck.ts";
import { Hiera } from "./hiera.ts";
import { type Trace, under } from "./trace.ts";

/** Trunk and neck; the coarsest levels serve the top-down path only and are dropped. */
export class ImageEncoder extends Module {
  /** The transformer that makes the stages. */
  readonly trunk: Hiera;
  /** The feature pyramid on top of it. */
  readonly neck: FpnNeck;
  private readonly scalp: number;

  /** Builds trunk and neck; no parameter gets memory or values yet. */
  constructor(config: Pick<Sam2Config, "trunk" | "dModel" | "fpnTopDownLevels" | "scalp">) {
    super();
    this.trunk = new Hiera(config.trunk);
    this.neck = new FpnNeck(this.trunk.channels, config.dModel, config.fpnTopDownLevels);
    this.scalp = config.scalp;
  }

  /** Normalised images [B, 3, R, R] to levels [B, dModel, R / stride, R / stride], finest first. */
  forward(images: Tensor, trace?: Trace): PyramidFeatures {
    const stages = this.trunk.forward(images, under(trace, "trunk"));
    const { levels, positions } = this.neck.forward(stages, under(trace, "neck"));
    const kept = levels.length - this.scalp;
    return { levels: levels.slice(0, kept), positions: positions.slice(0, kept) };
  }
}

import type { Tensor } from "../../engine/mod.ts";
import { Module } from "../../engine/nn/mod.ts";
import type { Sam2Config } from "../config.ts";
import { FpnNeck, type PyramidFeatures } from "./fpn_neck.ts";
import { Hiera } from "./hiera.ts";
import { type Trace, under } from "./trace.ts";

/** Trunk and neck; the coarsest levels serve the top-down path only and are dropped. */
export class ImageEncoder extends Module {
  readonly trunk: Hiera;
  readonly neck: FpnNeck;
  private readonly scalp: number;

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

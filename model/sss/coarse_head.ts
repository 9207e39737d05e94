/** The coarse head D_sam: class maps at the finest scale, from which prompts are searched. */
import { relu, type Tensor } from "../../engine/mod.ts";
import { BatchNorm2d, Conv2d, Module, type Training } from "../../engine/nn/mod.ts";

/** Width of the hidden map. */
const HIDDEN = 64;

/** Conv 3 x 3, batch norm, ReLU, conv 1 x 1 (SSS, eqs 17-18). */
export class CoarseHead extends Module {
  /** 3 x 3, to the hidden width. */
  readonly conv1: Conv2d;
  /** Normalises the hidden map. */
  readonly norm: BatchNorm2d;
  /** 1 x 1, to the outputs. */
  readonly conv2: Conv2d;

  /**
   * A head for maps of `dim` channels.
   *
   * @param outputs classes, background included.
   */
  constructor(dim: number, outputs: number) {
    super();
    this.conv1 = new Conv2d(dim, HIDDEN, 3, { padding: 1 });
    this.norm = new BatchNorm2d(HIDDEN);
    this.conv2 = new Conv2d(HIDDEN, outputs, 1);
  }

  /** Features [B, dim, H, W] to logits [B, outputs, H, W]. */
  forward(features: Tensor, training?: Training): Tensor {
    return this.conv2.forward(relu(this.norm.forward(this.conv1.forward(features), training)));
  }
}

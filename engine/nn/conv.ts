import { conv2d, convTranspose2d, type Tensor } from "../mod.ts";
import { fanIn } from "./initialisers.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** Options of {@link Conv2d}. */
export interface Conv2dOptions {
  readonly stride?: number;
  readonly padding?: number;
  readonly groups?: number;
  readonly bias?: boolean;
}

/** Convolution with a square kernel; the weight is [outputs, inputs / groups, kernel, kernel]. */
export class Conv2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
  private readonly options: { stride: number; padding: number; groups: number };

  constructor(inputs: number, outputs: number, kernel: number, options: Conv2dOptions = {}) {
    super();
    const { stride = 1, padding = 0, groups = 1, bias = true } = options;
    const inits = fanIn((inputs / groups) * kernel * kernel);
    this.weight = new Parameter([outputs, inputs / groups, kernel, kernel], inits);
    this.bias = bias ? new Parameter([outputs], inits) : undefined;
    this.options = { stride, padding, groups };
  }

  /** [B, inputs, H, W] to [B, outputs, H', W']. */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.options);
  }
}

/** Transposed convolution whose kernel equals its stride; the weight is [inputs, outputs, k, k]. */
export class ConvTranspose2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(inputs: number, outputs: number, private readonly stride: number) {
    super();
    // PyTorch reads dimension 1 as the fan-in, which here is the number of outputs.
    const inits = fanIn(outputs * stride * stride);
    this.weight = new Parameter([inputs, outputs, stride, stride], inits);
    this.bias = new Parameter([outputs], inits);
  }

  /** [B, inputs, H, W] to [B, outputs, H * stride, W * stride]. */
  forward(x: Tensor): Tensor {
    return convTranspose2d(x, this.weight, this.bias, { stride: this.stride });
  }
}

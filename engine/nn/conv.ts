import { conv2d, convTranspose2d, type Tensor } from "../mod.ts";
import { fanIn } from "./initialisers.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** Options of {@link Conv2d}. */
export interface Conv2dOptions {
  /** Step in both directions, 1 where left out. */
  readonly stride?: number;
  /** Zeros on each side of the input, 0 where left out. */
  readonly padding?: number;
  /** Groups of channels that are convolved apart, 1 where left out. */
  readonly groups?: number;
  /** Whether a value is added to each output channel (default). */
  readonly bias?: boolean;
}

/** Convolution with a square kernel; the weight is [outputs, inputs / groups, kernel, kernel]. */
export class Conv2d extends Module {
  /** [outputs, inputs / groups, kernel, kernel] */
  readonly weight: Parameter;
  /** [outputs], missing where the layer was made without. */
  readonly bias: Parameter | undefined;
  private readonly options: { stride: number; padding: number; groups: number };

  /** A layer with initial values as PyTorch draws them. */
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
  /** [inputs, outputs, stride, stride] */
  readonly weight: Parameter;
  /** [outputs] */
  readonly bias: Parameter;

  /** A layer with initial values as PyTorch draws them. */
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

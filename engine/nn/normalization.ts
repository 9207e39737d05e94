import { batchNorm2d, layerNorm, layerNorm2d, type Tensor } from "../mod.ts";
import { filledWith } from "./initialisers.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";
import type { Training } from "./training.ts";

/** Layer normalisation over the last dimension. */
export class LayerNorm extends Module {
  /** Factor per element, [dim], 1 at first. */
  readonly weight: Parameter;
  /** Added per element, [dim], 0 at first. */
  readonly bias: Parameter;

  /** A layer for vectors of length `dim`; `eps` is added to the variance. */
  constructor(dim: number, private readonly eps = 1e-5) {
    super();
    this.weight = new Parameter([dim], filledWith(1));
    this.bias = new Parameter([dim], filledWith(0));
  }

  /** [..., dim] to [..., dim]. */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** Layer normalisation over the channels of [B, C, H, W], at every position by itself. */
export class LayerNorm2d extends Module {
  /** Factor per channel, [channels], 1 at first. */
  readonly weight: Parameter;
  /** Added per channel, [channels], 0 at first. */
  readonly bias: Parameter;

  /** A layer for maps of `channels` channels; `eps` is added to the variance. */
  constructor(channels: number, private readonly eps = 1e-6) {
    super();
    this.weight = new Parameter([channels], filledWith(1));
    this.bias = new Parameter([channels], filledWith(0));
  }

  /** [B, C, H, W] to [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    return layerNorm2d(x, this.weight, this.bias, this.eps);
  }
}

/** Batch normalisation of [B, C, H, W] with running statistics. */
export class BatchNorm2d extends Module {
  /** Factor per channel, [channels], 1 at first. */
  readonly weight: Parameter;
  /** Added per channel, [channels], 0 at first. */
  readonly bias: Parameter;
  /** Moving average of the mean per channel, [channels], not trained. */
  readonly running_mean: Parameter;
  /** Moving average of the variance per channel, [channels], not trained. */
  readonly running_var: Parameter;

  /** A layer whose running statistics move by `momentum` towards those of each batch. */
  constructor(channels: number, private readonly eps = 1e-5, private readonly momentum = 0.1) {
    super();
    this.weight = new Parameter([channels], filledWith(1));
    this.bias = new Parameter([channels], filledWith(0));
    this.running_mean = new Parameter([channels], filledWith(0), false);
    this.running_var = new Parameter([channels], filledWith(1), false);
  }

  /**
   * Normalises with the running statistics, or, given a {@link Training}, with those of the batch;
   * then the moved running statistics are handed to `training.update`. They move with every call.
   */
  forward(x: Tensor, training?: Training): Tensor {
    const runningOf = (buffer: Parameter) => training?.valueOf(buffer) ?? buffer;
    const { out, running } = batchNorm2d(
      x,
      this.weight,
      this.bias,
      { mean: runningOf(this.running_mean), variance: runningOf(this.running_var) },
      { training: training !== undefined, momentum: this.momentum, eps: this.eps },
    );
    training?.update(this.running_mean, running.mean);
    training?.update(this.running_var, running.variance);
    return out;
  }
}

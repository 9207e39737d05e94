import { linear, type Tensor } from "../mod.ts";
import { fanIn } from "./initialisers.ts";
import { Module } from "./module.ts";
import { Parameter } from "./parameter.ts";

/** y = x Wᵀ + b over the last dimension; the weight is [outputs, inputs]. */
export class Linear extends Module {
  /** [outputs, inputs] */
  readonly weight: Parameter;
  /** [outputs], missing where the layer was made without. */
  readonly bias: Parameter | undefined;

  /** A layer with initial values as PyTorch draws them. */
  constructor(inputs: number, outputs: number, { bias = true }: { bias?: boolean } = {}) {
    super();
    this.weight = new Parameter([outputs, inputs], fanIn(inputs));
    this.bias = bias ? new Parameter([outputs], fanIn(inputs)) : undefined;
  }

  /** [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

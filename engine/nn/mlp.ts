import { gelu, relu, sigmoid, type Tensor } from "../mod.ts";
import { requireWhole } from "../shape.ts";
import { Linear } from "./linear.ts";
import { Module } from "./module.ts";

/** Options of {@link MLP}. */
export interface MlpOptions {
  /** What follows every layer but the last, ReLU where left out. */
  readonly activation?: "relu" | "gelu";
  /** Whether a sigmoid follows the last layer. */
  readonly sigmoidOutput?: boolean;
}

/** Linear layers with an activation between them (`layers.0`, `layers.1`, …). */
export class MLP extends Module {
  /** The linear layers, first to last. */
  readonly layers: readonly Linear[];
  private readonly activation: (x: Tensor) => Tensor;
  private readonly sigmoidOutput: boolean;

  /** `depth` layers: inputs, hidden, …, hidden, outputs. */
  constructor(
    inputs: number,
    hidden: number,
    outputs: number,
    depth: number,
    { activation = "relu", sigmoidOutput = false }: MlpOptions = {},
  ) {
    super();
    requireWhole("MLP", "the depth", depth);
    const widths = [inputs, ...new Array<number>(depth - 1).fill(hidden), outputs];
    this.layers = widths.slice(1).map((width, i) => new Linear(widths[i], width));
    this.activation = activation === "relu" ? relu : gelu;
    this.sigmoidOutput = sigmoidOutput;
  }

  /** [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    let y = x;
    for (const [i, layer] of this.layers.entries()) {
      y = layer.forward(y);
      if (i < this.layers.length - 1) y = this.activation(y);
    }
    return this.sigmoidOutput ? sigmoid(y) : y;
  }
}

import { indexSelect, type Tensor } from "../mod.ts";
import { type Initialiser, Parameter } from "./parameter.ts";
import { normal } from "./initialisers.ts";
import { Module } from "./module.ts";

/** A table of vectors, [count, dim], drawn from N(0, 1) unless another initialiser is given. */
export class Embedding extends Module {
  /** The vectors, [count, dim]. */
  readonly weight: Parameter;

  /** A table of `count` vectors of length `dim`. */
  constructor(count: number, dim: number, initialiser: Initialiser = normal()) {
    super();
    this.weight = new Parameter([count, dim], initialiser);
  }

  /** Rows of the table for an integer vector [n]: [n, dim]. */
  forward(index: Tensor): Tensor {
    return indexSelect(this.weight, 0, index);
  }
}

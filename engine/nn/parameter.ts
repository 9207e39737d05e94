/** Learned leaves of the graph. */
import { type Shape, Tensor } from "../mod.ts";
import { requireWhole } from "../shape.ts";
import type { Random } from "./random.ts";

/** Makes the first values of a parameter of a shape. */
export type Initialiser = (shape: Shape, random: Random) => Float32Array;

/**
 * A named leaf: weights that training changes, or a buffer such as a running mean (`trainable`
 * false). Making one allocates nothing: it holds a shape and an {@link Initialiser}. Its values come
 * from `storage` (GPU memory) once it is bound to some, else from `host`, which is uploaded with each
 * run that reads it.
 */
export class Parameter extends Tensor {
  /** A leaf of a shape; nothing is allocated. @throws {RangeError} where a size is no whole number from 1 on. */
  constructor(
    shape: Shape,
    readonly initialiser: Initialiser,
    /** Whether an optimiser may change it. */
    public trainable = true,
  ) {
    super("leaf", {}, [], shape, "f32");
    requireWhole("Parameter", "a size", shape);
  }
}

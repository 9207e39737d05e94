/** What each primitive brings along: its gradient and, where it has kernels of its own, how it runs. */
import type { Companion, Epilogue, Lowering } from "../shaders/kernel.ts";
import type { AdapterProfile } from "./device.ts";
import type { DType } from "./dtype.ts";
import type { Attributes, HeavyAttributes, Primitive } from "./attributes.ts";
import type { Shape } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** A node with its attributes' type known. */
export type NodeOf<P extends Primitive> = Tensor & { readonly attributes: Attributes[P] };

/**
 * Builds the gradients of a node's inputs from the gradient `g` of its (first) output: one entry per
 * input, `undefined` where none flows. `needs[i]` tells whether input i leads to a wanted tensor.
 */
export type Gradient<P extends Primitive> = (
  node: NodeOf<P>,
  g: Tensor,
  needs: readonly boolean[],
) => (Tensor | undefined)[];

/** Shape and type of an output buffer. */
export interface OutputSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Where an input's elements lie: at `first + sum of coordinate * stride` of its buffer. */
export interface InputView {
  readonly first: number;
  readonly strides: readonly number[];
}

/** Whether neighbours along a dimension are adjacent in memory. */
export const adjacent = (shape: Shape, strides: readonly number[], dim: number): boolean =>
  shape.at(dim) === 1 || strides.at(dim) === 1;

/** A primitive with kernels of its own. */
export interface HeavyRule<P extends keyof HeavyAttributes> {
  readonly gradient: Gradient<P>;
  /** Whether the kernel applies an {@link Epilogue} to its first output. */
  readonly epilogue: boolean;
  /** Whether the kernels read input `index`, of shape `shape`, where it lies by these strides. */
  readsInPlace?(index: number, shape: Shape, strides: readonly number[]): boolean;
  /** Whether the kernels for CPU adapters can sum a transposed first input over its rows. */
  readonly sumsLeft?: boolean;
  /** Outputs after the first (which has the node's shape and type). */
  extraOutputs?(node: NodeOf<P>): readonly OutputSpec[];
  /**
   * The kernels for an adapter. `node.inputs` are read for shapes and types only.
   *
   * @param views where the elements of each input lie: one after another, if not {@link readsInPlace}.
   * @param companion the sum to compute on the way, if {@link sumsLeft} allows one.
   */
  lower(
    node: NodeOf<P>,
    profile: AdapterProfile,
    epilogue: Epilogue,
    views: readonly InputView[],
    companion?: Companion,
  ): Lowering;
}

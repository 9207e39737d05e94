/** The lazy graph: a `Tensor` names a computation, and computes nothing until it is evaluated. */
import type { DType, TypedArray } from "./dtype.ts";
import { dtypeOf } from "./dtype.ts";
import { numel, type Shape, show } from "./shape.ts";
import type { Attributes, Primitive } from "./attributes.ts";

/** GPU memory that holds a tensor: a window of a buffer. */
export interface Storage {
  /** The buffer; it may hold other tensors too. */
  readonly buffer: GPUBuffer;
  /** Byte offset of the window, a multiple of the device's offset alignment. */
  readonly offset: number;
}

/** A part of a graph whose values the backward pass computes anew. */
export interface GraphSegment {
  /** The part that it lies in. */
  readonly outer: GraphSegment | undefined;
  /** 1 for an outermost part. */
  readonly depth: number;
}

let created = 0;
let current: GraphSegment | undefined;

/** Builds nodes that belong to a segment of their own, inside the current one. */
export function inSegment<T>(build: () => T): T {
  const outer = current;
  current = { outer, depth: (outer?.depth ?? 0) + 1 };
  try {
    return build();
  } finally {
    current = outer;
  }
}

/** The innermost segment that holds both. */
export function commonSegment(
  a: GraphSegment | undefined,
  b: GraphSegment | undefined,
): GraphSegment | undefined {
  while (a !== b) {
    if ((a?.depth ?? 0) >= (b?.depth ?? 0)) a = a?.outer;
    else b = b?.outer;
  }
  return a;
}

/**
 * A node of the lazy graph: a primitive, its attributes, inputs, shape and element type.
 *
 * Tensors are made by the op functions (`add`, `matmul`, …), by {@link tensor} from host data, or by
 * parameters; {@link evaluate} computes them.
 */
export class Tensor {
  /** Increases in order of creation, so that inputs always have smaller ids. */
  readonly id: number = created++;
  /** GPU memory of a leaf, or of a result that has been evaluated. */
  storage: Storage | undefined;
  /** Host values of a leaf that is uploaded with each run that reads it. */
  host: TypedArray | undefined;
  /** Host values that never change: uploaded once and kept in GPU memory. */
  resident = false;
  /** The checkpointed part of the graph that the node was made in. */
  readonly segment: GraphSegment | undefined = current;

  /**
   * Makes a node as given, without any check of shapes; see {@link node}.
   *
   * @param replay how often the same value has been computed before: equal nodes of different replays
   * are never merged.
   */
  constructor(
    readonly op: Primitive,
    readonly attributes: Attributes[Primitive],
    readonly inputs: readonly Tensor[],
    readonly shape: Shape,
    readonly dtype: DType,
    readonly replay = 0,
  ) {}

  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return numel(this.shape);
  }
}

/** Elements of a tensor at most: kernels count them, and those of a little padding, in 32 bits. */
const MAX_ELEMENTS = 2 ** 30;

/** Whether all sizes are whole numbers of at least `least`. */
function isWhole(shape: Shape, least: number): boolean {
  for (const size of shape) if (!Number.isInteger(size) || size < least) return false;
  return true;
}

/** An empty constant stands for "nothing there"; nothing is computed of it. */
function requireElements(op: Primitive, inputs: readonly Tensor[], shape: Shape): void {
  let wrong = isWhole(shape, op === "constant" ? 0 : 1) ? undefined : shape;
  for (const input of inputs) if (!isWhole(input.shape, 1)) wrong = input.shape;
  if (!wrong) return;
  throw new RangeError(
    `${op}: ${
      show(wrong)
    } is the shape of no tensor with elements; sizes are whole numbers from 1 on.`,
  );
}

/**
 * Makes a node. The op functions check shapes and call this.
 *
 * @throws {RangeError} where a size is no whole number of at least 1, other than of an empty constant,
 * or the shape has more than 2^30 elements, stored or not.
 */
export function node<P extends Primitive>(
  op: P,
  attributes: Attributes[P],
  inputs: readonly Tensor[],
  shape: Shape,
  dtype: DType = inputs[0].dtype,
): Tensor {
  requireElements(op, inputs, shape);
  const elements = numel(shape);
  if (elements > MAX_ELEMENTS) {
    throw new RangeError(
      `${op}: a tensor of shape ${
        show(shape)
      } has ${elements} elements; ${MAX_ELEMENTS} is the most.`,
    );
  }
  return new Tensor(op, attributes, inputs, shape, dtype);
}

/**
 * A leaf from host data, uploaded whenever a computation reads it.
 *
 * @param data values in row-major order; the array's type gives the element type.
 * @param shape sizes; a flat vector where left out.
 * @throws {RangeError} where the shape does not fit the data.
 */
export function tensor(data: TypedArray | readonly number[], shape?: Shape): Tensor {
  const values = Array.isArray(data) ? Float32Array.from(data) : data as TypedArray;
  const sizes = shape ?? [values.length];
  if (numel(sizes) !== values.length) {
    throw new RangeError(`tensor: shape ${show(sizes)} does not fit ${values.length} values.`);
  }
  const leaf = node("leaf", {}, [], sizes, dtypeOf(values));
  leaf.host = values;
  return leaf;
}

/** A leaf whose host values never change (tables, masks): uploaded once, then kept on the GPU. */
export function constant(data: TypedArray | readonly number[], shape?: Shape): Tensor {
  const leaf = tensor(data, shape);
  leaf.resident = true;
  return leaf;
}

/** A leaf that lives in GPU memory. */
export function leaf(storage: Storage, shape: Shape, dtype: DType = "f32"): Tensor {
  const result = node("leaf", {}, [], shape, dtype);
  result.storage = storage;
  return result;
}

/** Shape rules shared by the ops. */

/** Sizes of each dimension; `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements. */
export function numel(shape: Shape): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/** True where both shapes are the same. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** `[2, 3]` as text. */
export function show(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Refuses what is no whole number, or one below `least`. @throws {RangeError} */
export function requireWhole(op: string, name: string, values: number | Shape, least = 1): void {
  for (const value of typeof values === "number" ? [values] : values) {
    if (Number.isInteger(value) && value >= least) continue;
    const most = least === -Infinity ? "" : ` of at least ${least}`;
    throw new RangeError(`${op}: ${name} is ${value}, not a whole number${most}.`);
  }
}

/** Resolves a possibly negative dimension. @throws {RangeError} outside the rank. */
export function dimension(dim: number, rank: number, op: string): number {
  const resolved = dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(resolved) || resolved < 0 || resolved >= Math.max(rank, 1)) {
    throw new RangeError(`${op}: dimension ${dim} is outside a tensor of rank ${rank}.`);
  }
  return resolved;
}

/** The shape of two broadcast operands (NumPy's rule). @throws {RangeError} where they disagree. */
export function broadcastShapes(a: Shape, b: Shape, op: string): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new RangeError(`${op}: shapes ${show(a)} and ${show(b)} do not broadcast.`);
    }
    out[i] = x === 1 ? y : x;
  }
  return out;
}

/** A shape split around one dimension: element (o, n, i) lies at `(o * size + n) * inner + i`. */
export interface AxisView {
  /** Product of the sizes before the dimension. */
  readonly outer: number;
  /** Size of the dimension. */
  readonly size: number;
  /** Product of the sizes after it. */
  readonly inner: number;
}

/** Splits `shape` around dimension `dim` (not negative). */
export function axisView(shape: Shape, dim: number): AxisView {
  return {
    outer: numel(shape.slice(0, dim)),
    size: shape[dim] ?? 1,
    inner: numel(shape.slice(dim + 1)),
  };
}

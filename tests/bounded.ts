/** Values with bounds on their errors, as the graph interpreter computes them. */

/** Values, and how far those computed in float32 may be from each. */
export interface Bounded {
  readonly value: Float64Array;
  readonly error: Float64Array;
}

/** Half a unit in the last place of float32, relative. */
export const ROUNDING = 2 ** -24;

/** What functions beyond arithmetic may be off by, relative and absolute, on the adapters tested. */
export const FUNCTION_ERROR = 2e-6;

/** Values without any error. */
export function exact(value: Float64Array): Bounded {
  return { value, error: new Float64Array(value.length) };
}

/** Zeros without any error. */
export function blank(size: number): Bounded {
  return exact(new Float64Array(size));
}

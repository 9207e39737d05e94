/** Integer division by numbers that are data. */
import { bitsOf } from "./literal.ts";

/** Dividends up to which {@link QUOTIENT} is exact: half a unit outweighs the rounding of its steps. */
export const EXACT = 2 ** 21;

/**
 * Division by an inverse. CPU adapters divide lane by lane, 70 ns for eight, and multiply all at
 * once. Conversions from and to i32 are single instructions there; those of u32 are not.
 */
export const QUOTIENT = `fn quotient(a: u32, inverse: f32) -> u32 {
  return u32(i32((f32(i32(a)) + 0.5) * inverse));
}`;

/** How a kernel divides by its sizes. */
export interface Division {
  /** Declares what {@link Division.of} calls. */
  readonly declaration: string;
  /** The size that stands for a divisor. */
  readonly size: (divisor: number) => number;
  /** WGSL of `dividend / divisor`, given the divisor's name among the sizes. */
  readonly of: (dividend: string, name: string) => string;
}

/** Division of dividends up to `bound`. */
export function division(bound: number): Division {
  return bound <= EXACT
    ? {
      declaration: QUOTIENT,
      size: (divisor) => bitsOf(1 / divisor),
      of: (dividend, name) => `quotient(${dividend}, bitcast<f32>(sizes.${name}))`,
    }
    : {
      declaration: "",
      size: (divisor) => divisor,
      of: (dividend, name) => `${dividend} / sizes.${name}`,
    };
}

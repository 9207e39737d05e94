/**
 * NaN and infinities by their bits. Drivers take `x != x` for false, drop NaN in `max` and assume that
 * comparisons never see one; integer operations leave them no such choice.
 */

/** A float, or four. */
export type Width = 1 | 4;

const float = (width: Width) => width === 1 ? "f32" : "vec4<f32>";
const integer = (width: Width) => width === 1 ? "i32" : "vec4<i32>";
const bool = (width: Width) => width === 1 ? "bool" : "vec4<bool>";

/** Bits of x without its sign. Not negative, so that comparisons may be signed, which are cheaper. */
const size = (x: string, width: Width) => {
  const t = integer(width);
  return `(bitcast<${t}>(${x}) & ${t}(0x7fffffff))`;
};

/** WGSL that tells whether `x` is NaN. */
export const isNan = (x: string, width: Width): string =>
  `(${size(x, width)} > ${integer(width)}(0x7f800000))`;

/** WGSL that tells whether `x` is neither 0 nor -0; NaN is not. */
export const isTrue = (x: string, width: Width): string =>
  `(${size(x, width)} != ${integer(width)}(0))`;

/** WGSL of max(x, 0), and of NaN where x is: what is below zero has bits up to those of -infinity. */
export const relu = (x: string, width: Width): string =>
  `select(${x}, ${float(width)}(0.0), bitcast<${integer(width)}>(${x}) <= ${
    integer(width)
  }(-8388608))`;

function extreme(name: string, builtin: string, width: Width): string {
  const t = float(width);
  return `
fn ${name}_${width}(a: ${t}, b: ${t}) -> ${t} {
  return select(select(${builtin}(a, b), b, ${isNan("b", width)}), a, ${isNan("a", width)});
}`;
}

/** Declares `maximum_1` or `maximum_4`, the larger value, or NaN where one of the two is. */
export const maximum = (width: Width): string => extreme("maximum", "max", width);

/** Declares `minimum_1` or `minimum_4`, as {@link maximum}. */
export const minimum = (width: Width): string => extreme("minimum", "min", width);

/** Declares `nan_1` or `nan_4`: whether a value is NaN. */
export const nan = (width: Width): string => `
fn nan_${width}(x: ${float(width)}) -> ${bool(width)} {
  return ${isNan("x", width)};
}`;

/** Declares `if_finite_1` or `if_finite_4`: `value`, or NaN where `x` is NaN or infinite. */
export const ifFinite = (width: Width): string => {
  const [t, bits] = [float(width), integer(width)];
  return `
fn if_finite_${width}(x: ${t}, value: ${t}) -> ${t} {
  let exponent = bitcast<${bits}>(x) & ${bits}(0x7f800000);
  return select(value, bitcast<${t}>(${bits}(0x7fc00000)), exponent == ${bits}(0x7f800000));
}`;
};

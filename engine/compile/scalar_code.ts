/** WGSL expressions of the elementwise ops, for one element or four. */
import { maximum, minimum, nan, relu, type Width } from "../../shaders/nan.ts";
import type { Primitive } from "../attributes.ts";
import { type DType, DTYPES, isFloat } from "../dtype.ts";

const type = (wide: boolean) => wide ? "vec4<f32>" : "f32";

/** Rational approximation of erf, exact to a few units in the last place on [-4, 4]; ±1 beyond. */
const erf = (t: string, name: string) => `
fn ${name}(v: ${t}) -> ${t} {
  let x = clamp(v, ${t}(-4.0), ${t}(4.0));
  let s = x * x;
  var p = s * -2.72614225801306e-10 + 2.77068142495902e-08;
  p = p * s + -2.10102402082508e-06;
  p = p * s + -5.69250639462346e-05;
  p = p * s + -7.34990630326855e-04;
  p = p * s + -2.95459980854025e-03;
  p = p * s + -1.60960333262415e-02;
  var q = s * -1.45660718464996e-05 + -2.13374055278905e-04;
  q = q * s + -1.68282697438203e-03;
  q = q * s + -7.37332916720468e-03;
  q = q * s + -1.42647390514189e-02;
  return x * p / q;
}`;

/** Power for any sign of the base: WGSL's own is defined for positive bases only. */
const POWER = `
fn power(x: f32, y: f32) -> f32 {
  let size = pow(abs(x), y);
  if (y == 0.0) { return 1.0; }
  if (x > 0.0 || x == 0.0) { return size; }
  let whole = floor(y) == y;
  let odd = abs(y - 2.0 * floor(y * 0.5)) == 1.0;
  let nan_bits = 0x7fc00000u + u32(min(abs(x), 0.0));
  return select(bitcast<f32>(nan_bits), select(size, -size, odd), whole);
}`;

/** Functions that emitted code may call, by name. */
export const HELPERS: Readonly<Record<string, string>> = {
  erf_1: erf("f32", "erf_1"),
  erf_4: erf("vec4<f32>", "erf_4"),
  power: POWER,
  nan_1: nan(1),
  nan_4: nan(4),
  maximum_1: maximum(1),
  maximum_4: maximum(4),
  minimum_1: minimum(1),
  minimum_4: minimum(4),
};

/** WGSL of a unary op. */
export function unaryCode(op: Primitive, x: string, wide: boolean, helpers: Set<string>): string {
  const t = type(wide);
  switch (op) {
    case "neg":
      return `-${x}`;
    case "rsqrt":
      return `inverseSqrt(${x})`;
    case "tanh":
      // Some drivers compute tanh by exponentials that overflow; beyond 15 it is ±1 in f32.
      return `tanh(clamp(${x}, ${t}(-15.0), ${t}(15.0)))`;
    case "sigmoid":
      return `${t}(1.0) / (${t}(1.0) + exp(-${x}))`;
    case "softplus":
      return `max(${x}, ${t}(0.0)) + log(${t}(1.0) + exp(-abs(${x})))`;
    case "relu":
      return relu(x, wide ? 4 : 1);
    case "erf": {
      const name = wide ? "erf_4" : "erf_1";
      helpers.add(name);
      return `${name}(${x})`;
    }
    case "abs":
    case "sign":
    case "floor":
    case "exp":
    case "log":
    case "sqrt":
    case "sin":
    case "cos":
      return `${op}(${x})`;
    default:
      throw new Error(`No elementwise code for the primitive "${op}".`);
  }
}

const OPERATORS: Partial<Record<Primitive, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  xor: "^",
};
const COMPARISONS: Partial<Record<Primitive, string>> = { lt: "<", le: "<=", eq: "==" };
const EXTREMES: Partial<Record<Primitive, string>> = { maximum: "max", minimum: "min" };

/** A spelt-out finite number, maybe as all parts of a vector. */
const NUMBER = /^(vec4<f32>\()?(f32\()?-?[\d.]+(e[+-]?\d+)?f?\)*$/;

/** WGSL of a comparison, 1 or 0: no NaN is less than anything, or equal to anything. */
function comparison(
  operator: string,
  operands: readonly string[],
  dtype: DType,
  width: Width,
  helpers: Set<string>,
): string {
  const t = type(width === 4);
  const holds = operands.join(` ${operator} `);
  const doubtful = isFloat(dtype) ? operands.filter((x) => !NUMBER.test(x)) : [];
  if (doubtful.length > 0) helpers.add(`nan_${width}`);
  const numbers = [...new Set(doubtful)].map((x) => ` & !nan_${width}(${x})`).join("");
  return `select(${t}(0.0), ${t}(1.0), ${numbers ? `(${holds})${numbers}` : holds})`;
}

/** WGSL of a binary op on operands of one width and of type `dtype`. */
export function binaryCode(
  op: Primitive,
  a: string,
  b: string,
  dtype: DType,
  wide: boolean,
  helpers: Set<string>,
): string {
  const width = wide ? 4 : 1;
  if (OPERATORS[op]) return `${a} ${OPERATORS[op]} ${b}`;
  const operator = COMPARISONS[op];
  if (operator) return comparison(operator, [a, b], dtype, width, helpers);
  if (EXTREMES[op]) {
    const name = isFloat(dtype) ? `${op}_${width}` : EXTREMES[op];
    if (isFloat(dtype)) helpers.add(name);
    return `${name}(${a}, ${b})`;
  }
  if (op === "shiftRight") return `${a} >> ${b}`;
  if (op === "pow") {
    helpers.add("power");
    const one = (c: string) => `power((${a})${c}, (${b})${c})`;
    return wide ? `vec4<f32>(${[".x", ".y", ".z", ".w"].map(one).join(", ")})` : one("");
  }
  throw new Error(`No elementwise code for the primitive "${op}".`);
}

/** WGSL of a conversion; to f16, of a rounding. */
export function castCode(x: string, to: DType, wide: boolean): string {
  const converted = (type: string, value: string) => `${wide ? `vec4<${type}>` : type}(${value})`;
  const { computed } = DTYPES[to];
  return converted(computed, to === computed ? x : converted(to, x));
}

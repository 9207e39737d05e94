/** WGSL expressions of the elementwise ops, for one element or four. */
import type { Primitive } from "../attributes.ts";

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
      return `max(${x}, ${t}(0.0))`;
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

/** WGSL of a binary op on operands of one width. */
export function binaryCode(
  op: Primitive,
  a: string,
  b: string,
  wide: boolean,
  helpers: Set<string>,
): string {
  const t = type(wide);
  if (OPERATORS[op]) return `${a} ${OPERATORS[op]} ${b}`;
  if (COMPARISONS[op]) return `select(${t}(0.0), ${t}(1.0), ${a} ${COMPARISONS[op]} ${b})`;
  if (op === "maximum") return `max(${a}, ${b})`;
  if (op === "minimum") return `min(${a}, ${b})`;
  if (op === "shiftRight") return `${a} >> ${b}`;
  if (op === "pow") {
    helpers.add("power");
    const one = (c: string) => `power((${a})${c}, (${b})${c})`;
    return wide ? `vec4<f32>(${[".x", ".y", ".z", ".w"].map(one).join(", ")})` : one("");
  }
  throw new Error(`No elementwise code for the primitive "${op}".`);
}

/** WGSL of a conversion. */
export const castCode = (x: string, to: string): string => `${to}(${x})`;

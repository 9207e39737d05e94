/** Elementwise ops. They fuse: a chain of them, with the movement between, becomes one kernel. */
import type { BinaryAttributes, Primitive, UnaryAttributes } from "../attributes.ts";
import { promoted, raised } from "../autocast.ts";
import { type DType, isFloat, requireFloat, type TypedArray } from "../dtype.ts";
import type { Gradient } from "../rule.ts";
import { broadcastShapes, numel, type Shape, show } from "../shape.ts";
import { node, type Tensor, tensor } from "../tensor.ts";
import { expand, padZeros } from "./movement.ts";

/** A tensor, or a number that stands for a scalar of the other operand's type. */
export type Operand = Tensor | number;

/** Whether a number is one of a type's: of 32 bits, whole numbers with or without a sign. */
const belongs = (value: number, dtype: DType) =>
  isFloat(dtype) || (Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32);

/**
 * A tensor with one value everywhere.
 *
 * @throws {TypeError} where the type has no such value.
 */
export function full(shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  if (!belongs(value, dtype)) throw new TypeError(`full: ${value} is no ${dtype}.`);
  return node("constant", { value }, [], shape, dtype);
}

/** Zeros of a shape. */
export const zeros = (shape: Shape, dtype: DType = "f32"): Tensor => full(shape, 0, dtype);

/** Ones of a shape. */
export const ones = (shape: Shape, dtype: DType = "f32"): Tensor => full(shape, 1, dtype);

/** A scalar that may change from run to run without a new plan (it is data, not a constant). */
export function scalar(value: number): Tensor {
  return tensor(Float32Array.of(value) as TypedArray, []);
}

/**
 * `0, 1, …, n - 1` as u32 in a shape of n elements.
 *
 * @throws {RangeError} where the shape has another number of them.
 */
export function arange(n: number, shape: Shape = [n]): Tensor {
  if (numel(shape) !== n) {
    throw new RangeError(`arange: shape ${show(shape)} does not fit ${n} values.`);
  }
  return node("iota", {}, [], shape, "u32");
}

function lift(op: string, x: Operand, like: DType): Tensor {
  if (typeof x !== "number") return x;
  if (!belongs(x, like)) throw new TypeError(`${op}: ${x} is no ${like}; cast the tensor.`);
  return full([], x, like);
}

function pair(op: string, a: Operand, b: Operand): [Tensor, Tensor] {
  const like = typeof a === "number" ? (b as Tensor).dtype ?? "f32" : a.dtype;
  const [x, y] = promoted([lift(op, a, like), lift(op, b, like)]);
  if (x.dtype !== y.dtype) {
    throw new TypeError(`${op}: operands are ${x.dtype} and ${y.dtype}; cast one of them.`);
  }
  const shape = broadcastShapes(x.shape, y.shape, op);
  return [expand(x, shape), expand(y, shape)];
}

function binary(op: keyof BinaryAttributes, a: Operand, b: Operand, dtype?: DType): Tensor {
  const [x, y] = pair(op, a, b);
  return node(op, {}, [x, y], x.shape, dtype ?? x.dtype);
}

/** Unary ops of whole numbers, by the types that have them. */
const WHOLE: Partial<Record<keyof UnaryAttributes, readonly DType[]>> = {
  neg: ["i32"],
  abs: ["i32", "u32"],
  sign: ["i32"],
};

function unary(op: Exclude<keyof UnaryAttributes, "cast" | "bitcast">, x: Tensor): Tensor {
  if (!WHOLE[op]?.includes(x.dtype)) requireFloat(op, x);
  return node(op, {}, [x], x.shape);
}

function bitwise(op: "xor" | "shiftRight", a: Operand, b: Operand): Tensor {
  const out = binary(op, a, b);
  if (out.dtype !== "u32") throw new TypeError(`${op}: operands are ${out.dtype}, not u32.`);
  return out;
}

/** a + b, broadcasting. */
export const add = (a: Operand, b: Operand): Tensor => binary("add", a, b);
/** a - b, broadcasting. */
export const sub = (a: Operand, b: Operand): Tensor => binary("sub", a, b);
/** a * b, broadcasting. */
export const mul = (a: Operand, b: Operand): Tensor => binary("mul", a, b);
/** a / b, broadcasting; of whole numbers, rounded towards 0. */
export const div = (a: Operand, b: Operand): Tensor => binary("div", a, b);
/** Larger of the two; at ties each operand gets half of the gradient. */
export const maximum = (a: Operand, b: Operand): Tensor => binary("maximum", a, b);
/** Smaller of the two; at ties each operand gets half of the gradient. */
export const minimum = (a: Operand, b: Operand): Tensor => binary("minimum", a, b);
/** 1 where a < b, else 0 (f32). */
export const lt = (a: Operand, b: Operand): Tensor => binary("lt", a, b, "f32");
/** 1 where a <= b, else 0 (f32). */
export const le = (a: Operand, b: Operand): Tensor => binary("le", a, b, "f32");
/** 1 where a > b, else 0 (f32). */
export const gt = (a: Operand, b: Operand): Tensor => binary("lt", b, a, "f32");
/** 1 where a >= b, else 0 (f32). */
export const ge = (a: Operand, b: Operand): Tensor => binary("le", b, a, "f32");
/** 1 where a = b, else 0 (f32). */
export const eq = (a: Operand, b: Operand): Tensor => binary("eq", a, b, "f32");
/** 1 where a differs from b, else 0 (f32). */
export const ne = (a: Operand, b: Operand): Tensor => sub(1, eq(a, b));
/** Bitwise exclusive or of u32. */
export const xor = (a: Operand, b: Operand): Tensor => bitwise("xor", a, b);
/** Logical right shift of u32, by less than 32. */
export function shiftRight(a: Operand, b: Operand): Tensor {
  if (typeof b === "number" && !(b >= 0 && b < 32)) {
    throw new RangeError(`shiftRight: ${b} is not from 0 to 31.`);
  }
  return bitwise("shiftRight", a, b);
}
/** 1 where x is 0, else 0. */
export const logicalNot = (x: Tensor): Tensor => eq(x, 0);
/** 1 where both are not 0, else 0. */
export const logicalAnd = (a: Tensor, b: Tensor): Tensor => mul(ne(a, 0), ne(b, 0));

/** -x. */
export const neg = (x: Tensor): Tensor => unary("neg", x);
/** |x|. */
export const abs = (x: Tensor): Tensor => unary("abs", x);
/** -1, 0 or 1. */
export const sign = (x: Tensor): Tensor => unary("sign", x);
/** Largest integer not above x; no gradient flows. */
export const floor = (x: Tensor): Tensor => unary("floor", x);
/** e to the x. */
export const exp = (x: Tensor): Tensor => unary("exp", raised(x));
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => unary("log", raised(x));
/** Square root. */
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
/** 1 / sqrt(x). */
export const rsqrt = (x: Tensor): Tensor => unary("rsqrt", raised(x));
/** Sine. */
export const sin = (x: Tensor): Tensor => unary("sin", x);
/** Cosine. */
export const cos = (x: Tensor): Tensor => unary("cos", x);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
/** 1 / (1 + exp(-x)). */
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
/** Gauss error function. */
export const erf = (x: Tensor): Tensor => unary("erf", x);
/** log(1 + exp(x)), stable for large |x|. */
export const softplus = (x: Tensor): Tensor => unary("softplus", raised(x));
/** max(x, 0); the gradient at 0 is 0. */
export const relu = (x: Tensor): Tensor => unary("relu", x);
/** x * x. */
export const square = (x: Tensor): Tensor => mul(x, x);
/** 1 / x. */
export function reciprocal(x: Tensor): Tensor {
  requireFloat("reciprocal", x);
  return div(1, raised(x));
}
/** Exact GELU, x * Phi(x). */
export const gelu = (x: Tensor): Tensor => mul(mul(x, 0.5), add(erf(mul(x, Math.SQRT1_2)), 1));
/** x * sigmoid(x). */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));

/** `base` to the power of `exponent`. */
export function pow(base: Tensor, exponent: Operand): Tensor {
  requireFloat("pow", base);
  const x = raised(base);
  if (exponent === 2) return square(x);
  if (exponent === 1) return x;
  if (exponent === 0.5) return sqrt(x);
  return binary("pow", x, exponent);
}

/** x limited to [min, max], or max where min is larger; the gradient passes at the limits. */
export function clamp(x: Tensor, min = -Infinity, max = Infinity): Tensor {
  let out = x;
  if (min > -Infinity) out = where(lt(x, min), min, out);
  if (max < Infinity) out = where(gt(out, max), max, out);
  return out;
}

/** a where the condition is not 0, else b; all broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const [x, y] = pair("where", a, b);
  const shape = broadcastShapes(condition.shape, x.shape, "where");
  const inputs = [expand(condition, shape), expand(x, shape), expand(y, shape)];
  return node("where", {}, inputs, shape, x.dtype);
}

/**
 * A value (0 where left out) before and after each dimension.
 *
 * @param amounts one `[before, after]` per dimension, all not negative.
 * @throws {RangeError} where there is not one pair per dimension, or one is negative.
 */
export function pad(
  x: Tensor,
  amounts: readonly (readonly [number, number])[],
  value = 0,
): Tensor {
  const padded = padZeros(x, amounts);
  if (value === 0 || padded === x) return padded;
  return where(padZeros(ones(x.shape), amounts), padded, value);
}

/** x without a gradient. */
export function detach(x: Tensor): Tensor {
  return node("detach", {}, [x], x.shape);
}

type FusedGradients<K extends Primitive> = { readonly [P in K]: Gradient<P> };
const none = () => [undefined];
const none2 = () => [undefined, undefined];

/** 1 where `a` wins, 1/2 at ties. */
const wins = (a: Tensor, b: Tensor) => add(mul(eq(a, b), 0.5), lt(b, a));

/** Gradients of the unary ops. Those that can use the output do, so that inputs need not be kept. */
export const unaryGradients: FusedGradients<keyof UnaryAttributes> = {
  neg: (_, g) => [neg(g)],
  abs: (n, g) => [mul(g, sign(n.inputs[0]))],
  sign: none,
  floor: none,
  exp: (n, g) => [mul(g, n)],
  log: (n, g) => [div(g, n.inputs[0])],
  sqrt: (n, g) => [div(mul(g, 0.5), n)],
  rsqrt: (n, g) => [mul(mul(g, -0.5), mul(n, square(n)))],
  sin: (n, g) => [mul(g, cos(n.inputs[0]))],
  cos: (n, g) => [neg(mul(g, sin(n.inputs[0])))],
  tanh: (n, g) => [mul(g, sub(1, square(n)))],
  sigmoid: (n, g) => [mul(g, mul(n, sub(1, n)))],
  erf: (n, g) => [mul(g, mul(exp(neg(square(n.inputs[0]))), 2 / Math.sqrt(Math.PI)))],
  softplus: (n, g) => [mul(g, sigmoid(n.inputs[0]))],
  relu: (n, g) => [where(le(n, 0), 0, g)],
  bitcast: none,
  cast: (n, g) => [n.inputs.every((x) => isFloat(x.dtype)) && isFloat(n.dtype) ? g : undefined],
};

/** Gradients of the binary ops, on operands already of one shape. */
export const binaryGradients: FusedGradients<keyof BinaryAttributes> = {
  add: (_, g) => [g, g],
  sub: (_, g, needs) => [g, needs[1] ? neg(g) : undefined],
  mul: (n, g, needs) => [
    needs[0] ? mul(g, n.inputs[1]) : undefined,
    needs[1] ? mul(g, n.inputs[0]) : undefined,
  ],
  div: (n, g, needs) => [
    needs[0] ? div(g, n.inputs[1]) : undefined,
    needs[1] ? neg(div(mul(g, n), n.inputs[1])) : undefined,
  ],
  pow: (n, g, needs) => {
    const [x, y] = n.inputs;
    // At a base of 0 the products below would be 0 times infinity.
    const slope = () => where(eq(y, 0), 0, mul(y, binary("pow", x, sub(y, 1))));
    const growth = () => where(logicalAnd(eq(x, 0), ge(y, 0)), 0, mul(n, log(x)));
    return [
      needs[0] ? mul(g, slope()) : undefined,
      needs[1] ? mul(g, growth()) : undefined,
    ];
  },
  maximum: (
    n,
    g,
  ) => [mul(g, wins(n.inputs[0], n.inputs[1])), mul(g, wins(n.inputs[1], n.inputs[0]))],
  minimum: (
    n,
    g,
  ) => [mul(g, wins(n.inputs[1], n.inputs[0])), mul(g, wins(n.inputs[0], n.inputs[1]))],
  lt: none2,
  le: none2,
  eq: none2,
  xor: none2,
  shiftRight: none2,
};

/** Gradient of `where`. */
export const whereGradient: Gradient<"where"> = (n, g, needs) => [
  undefined,
  needs[1] ? where(n.inputs[0], g, 0) : undefined,
  needs[2] ? where(n.inputs[0], 0, g) : undefined,
];

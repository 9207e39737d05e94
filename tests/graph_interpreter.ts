/**
 * The graph in plain TypeScript: every primitive by its definition, in float64, with a bound on what
 * rounding in float32 may have changed. Where rounding decides (a comparison of nearly equal values)
 * the bound covers both outcomes.
 */
import type { Attributes, Primitive } from "../engine/attributes.ts";
import { axisView, numel, type Shape, stridesOf } from "../engine/shape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Bounded, exact, FUNCTION_ERROR, ROUNDING } from "./bounded.ts";
import { cumulate, indexAdd, matmul, normalised, normalisedBackward } from "./interpret_heavy.ts";

type Scalar = (...x: number[]) => number;

/** Abramowitz and Stegun 7.1.6, whose terms all have one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Arithmetic that float32 rounds once, and exact functions. */
const ARITHMETIC: Partial<Record<Primitive, Scalar>> = {
  neg: (x) => -x,
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  relu: (x) => Math.max(x, 0),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  maximum: Math.max,
  minimum: Math.min,
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  where: (condition, a, b) => condition !== 0 ? a : b,
};

/** a / b, with an unlimited error where b may be 0. */
function quotient([a, b]: readonly Bounded[]): Bounded {
  const { value, error } = pointwise((a, b) => a / b, [a, b], ROUNDING);
  const limited = error.map((off, i) => Math.abs(b.value[i]) > b.error[i] ? off : Infinity);
  return { value, error: limited };
}

/** Whether a = b, with an error where rounding may make them equal or keep them apart. */
function equality([a, b]: readonly Bounded[]): Bounded {
  const near = (i: number) => a.error[i] + b.error[i];
  return {
    value: a.value.map((v, i) => Number(v === b.value[i])),
    error: a.value.map((v, i) => Number(near(i) > 0 && Math.abs(v - b.value[i]) <= near(i))),
  };
}

/** Functions that adapters approximate. */
const FUNCTIONS: Partial<Record<Primitive, Scalar>> = {
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  sigmoid,
  erf,
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  pow: Math.pow,
};

/** Arithmetic on u32. */
const INTEGERS: Partial<Record<Primitive, Scalar>> = {
  add: (a, b) => (a + b) >>> 0,
  sub: (a, b) => (a - b) >>> 0,
  mul: (a, b) => Math.imul(a, b) >>> 0,
  xor: (a, b) => (a ^ b) >>> 0,
  shiftRight: (a, b) => a >>> b,
};

/**
 * Applies `f` to each element. The error is the furthest that the arguments' own errors can move the
 * result, found at the corners of their ranges, and the rounding of the result.
 */
function pointwise(f: Scalar, args: readonly Bounded[], rounding: number): Bounded {
  const size = args[0].value.length;
  const [value, error] = [new Float64Array(size), new Float64Array(size)];
  const [at, corner] = [new Array<number>(args.length), new Array<number>(args.length)];
  for (let i = 0; i < size; i++) {
    let uncertain = 0;
    args.forEach((arg, k) => {
      at[k] = arg.value[i];
      if (arg.error[i] > 0) uncertain |= 1 << k;
    });
    const v = value[i] = f(...at);
    let off = rounding * Math.abs(v) + (rounding > ROUNDING ? FUNCTION_ERROR : 0);
    let worst = 0;
    for (let signs = 0; uncertain > 0 && signs < 2 ** args.length; signs++) {
      args.forEach((arg, k) => corner[k] = at[k] + (signs >> k & 1 ? 1 : -1) * arg.error[i]);
      worst = Math.max(worst, Math.abs(f(...corner) - v));
    }
    off += worst;
    error[i] = Number.isNaN(off) ? Infinity : off;
  }
  return { value, error };
}

/** Picks elements of `x`: `source` gives the flat index for coordinates, or -1 for zero. */
function moved(x: Bounded, shape: Shape, source: (at: readonly number[]) => number): Bounded {
  const size = numel(shape);
  const strides = stridesOf(shape);
  const [value, error] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0; i < size; i++) {
    const from = source(strides.map((stride, d) => Math.floor(i / stride) % shape[d]));
    if (from < 0) continue;
    value[i] = x.value[from];
    error[i] = x.error[from];
  }
  return { value, error };
}

const flat = (at: readonly number[], strides: readonly number[]) =>
  at.reduce((sum, c, d) => sum + c * strides[d], 0);

function movement(n: Tensor, inputs: readonly Bounded[]): Bounded {
  const [x] = inputs;
  const source = n.inputs[0].shape;
  const strides = stridesOf(source);
  const by = (place: (at: readonly number[]) => readonly number[]) =>
    moved(x, n.shape, (at) => {
      const from = place(at);
      return from.some((c, d) => c < 0 || c >= source[d]) ? -1 : flat(from, strides);
    });
  switch (n.op) {
    case "permute": {
      const { dims } = n.attributes as Attributes["permute"];
      return by((at) => source.map((_, d) => at[dims.indexOf(d)]));
    }
    case "expand":
      return by((at) => at.map((c, d) => source[d] === 1 ? 0 : c));
    case "slice": {
      const { start, step } = n.attributes as Attributes["slice"];
      return by((at) => at.map((c, d) => start[d] + c * step[d]));
    }
    case "pad": {
      const { before } = n.attributes as Attributes["pad"];
      return by((at) => at.map((c, d) => c - before[d]));
    }
    case "indexSelect": {
      const { dim } = n.attributes as Attributes["indexSelect"];
      return by((at) => at.map((c, d) => d === dim ? inputs[1].value[c] : c));
    }
    default:
      return x;
  }
}

/** Joins lines of elements: `lines` maps the flat index of an element to that of its result. */
function reduced(n: Tensor, x: Bounded): Bounded {
  const source = n.inputs[0].shape;
  const strides = stridesOf(source);
  const target = stridesOf(n.shape);
  const { dims, dim } = n.attributes as { dims?: readonly number[]; dim?: number };
  const over = dims ?? [dim!];
  const groups: number[][] = Array.from({ length: n.size }, () => []);
  for (let i = 0; i < x.value.length; i++) {
    const at = strides.map((stride, d) =>
      over.includes(d) ? 0 : Math.floor(i / stride) % source[d]
    );
    groups[flat(at, target)].push(i);
  }
  const join = n.op === "sum" ? total : n.op === "amax" ? largest : place;
  const joined = groups.map((group) => join(group, x));
  return {
    value: Float64Array.from(joined, ([value]) => value),
    error: Float64Array.from(joined, ([, error]) => error),
  };
}

type Joined = readonly [value: number, error: number];

function total(group: readonly number[], { value, error }: Bounded): Joined {
  let [sum, size, off] = [0, 0, 0];
  for (const i of group) {
    sum += value[i];
    size += Math.abs(value[i]);
    off += error[i];
  }
  return [sum, off + group.length * ROUNDING * (size + off)];
}

function largest(group: readonly number[], { value, error }: Bounded): Joined {
  return [
    group.reduce((most, i) => Math.max(most, value[i]), -Infinity),
    group.reduce((most, i) => Math.max(most, error[i]), 0),
  ];
}

function place(group: readonly number[], { value, error }: Bounded): Joined {
  const best = group.reduce((a, b) => value[b] > value[a] ? b : a);
  const sure = group.every((i) =>
    i === best || value[i] + error[i] < value[best] - error[best] ||
    (value[i] <= value[best] && error[i] === 0 && error[best] === 0)
  );
  return [group.indexOf(best), sure ? 0 : Infinity];
}

function joined(n: Tensor, inputs: readonly Bounded[]): Bounded {
  const { dim } = n.attributes as Attributes["cat"];
  const { outer } = axisView(n.shape, dim);
  const pick = (part: "value" | "error") => {
    const out = new Float64Array(n.size);
    let at = 0;
    for (let o = 0; o < outer; o++) {
      for (const x of inputs) {
        const chunk = x.value.length / outer;
        out.set(x[part].subarray(o * chunk, (o + 1) * chunk), at);
        at += chunk;
      }
    }
    return out;
  };
  return { value: pick("value"), error: pick("error") };
}

function compute(n: Tensor, inputs: readonly Bounded[]): Bounded {
  const integers = n.dtype !== "f32" && INTEGERS[n.op];
  if (integers) return exact(pointwise(integers, inputs, 0).value);
  const arithmetic = ARITHMETIC[n.op];
  if (arithmetic) return pointwise(arithmetic, inputs, ROUNDING);
  const f = FUNCTIONS[n.op];
  if (f) return pointwise(f, inputs, FUNCTION_ERROR);
  switch (n.op) {
    case "div":
      return quotient(inputs);
    case "eq":
      return equality(inputs);
    case "constant": {
      const { value } = n.attributes as Attributes["constant"];
      return exact(new Float64Array(n.size).fill(n.dtype === "f32" ? Math.fround(value) : value));
    }
    case "iota":
      return exact(Float64Array.from({ length: n.size }, (_, i) => i));
    case "cast":
      return n.dtype === "f32" ? inputs[0] : pointwise(Math.trunc, inputs, 0);
    case "reshape":
    case "detach":
    case "permute":
    case "expand":
    case "slice":
    case "pad":
    case "indexSelect":
      return movement(n, inputs);
    case "sum":
    case "amax":
    case "argmax":
      return reduced(n, inputs[0]);
    case "cat":
      return joined(n, inputs);
    case "matmul":
      return matmul(n, inputs);
    case "cumsum":
      return cumulate(n, inputs[0]);
    case "indexAdd":
      return indexAdd(n, inputs);
    case "softmax":
    case "logSoftmax":
      return normalised(n, inputs[0]);
    case "softmaxBackward":
    case "logSoftmaxBackward":
      return normalisedBackward(n, inputs);
    default:
      throw new Error(`The interpreter does not know the primitive "${n.op}".`);
  }
}

/**
 * Computes tensors and everything below them.
 *
 * @param given values to take in place of those of leaves, or of what would be computed.
 */
export function interpret(
  targets: readonly Tensor[],
  given: ReadonlyMap<Tensor, Float64Array> = new Map(),
): Bounded[] {
  const known = new Map<Tensor, Bounded>();
  const valueOf = (t: Tensor): Bounded => {
    let found = known.get(t);
    if (found) return found;
    const values = given.get(t) ?? (t.op === "leaf" ? Float64Array.from(t.host!) : undefined);
    found = values ? exact(values) : compute(t, t.inputs.map(valueOf));
    // What an unlimited error was multiplied by zero with may be anything.
    found.error.forEach((off, i, errors) => Number.isNaN(off) && (errors[i] = Infinity));
    known.set(t, found);
    return found;
  };
  return targets.map(valueOf);
}

/** Kernels generated for sums, maxima and argmax, with what they read computed on the way. */
import type { AdapterProfile } from "../device.ts";
import { type DType, DTYPES, isFloat } from "../dtype.ts";
import { numel, stridesOf } from "../shape.ts";
import {
  type Arg,
  type Companion,
  type Epilogue,
  grid1d,
  type Kernel,
  type Lowering,
  type Step,
  storage,
} from "../../shaders/kernel.ts";
import { sumParts } from "../../shaders/matmul_product.ts";
import { Emitter, helperSource, type Index, typeOf, type Value, widen } from "./emit.ts";
import type { Root } from "./fuse.ts";
import type { GraphNode } from "./graph.ts";
import { Bindings, entry, withAccesses } from "./map_kernel.ts";
import { Numbers } from "./numbers.ts";
import {
  extentOf,
  type Layout,
  layoutOf,
  MAX_TERMS,
  type Split,
  splitOf,
} from "./reduce_layout.ts";

type Op = "sum" | "amax" | "argmax";

/** Runtime bits, because compilers refuse or fold constant infinities. */
const LOWEST = "var<private> lowest_bits: u32 = 0xff800000u;";

/** WGSL of the value that no other is less than. */
const lowest = (dtype: DType) =>
  isFloat(dtype)
    ? "bitcast<f32>(lowest_bits)"
    : DTYPES[dtype].literal(dtype === "u32" ? 0 : -(2 ** 31));

/** Elements in a round of a loop of argmax, whose terms one invocation has to see. */
const MAX_REPEATS = 2 ** 7;

const combine = (op: Op, dtype: DType, a: string, b: string, width: 1 | 4 = 1) =>
  op === "sum" ? `${a} + ${b}` : `${isFloat(dtype) ? `maximum_${width}` : "max"}(${a}, ${b})`;

interface Body {
  readonly bindings: Bindings;
  readonly numbers: Numbers;
  readonly emitter: Emitter;
  /** What is reduced, and what its companion sums. */
  readonly values: readonly Value[];
  /** Statements that find the coordinates of result `o`. */
  readonly kept: readonly string[];
  /** Dimensions that loops run over. */
  readonly loops: readonly number[];
}

/** Coordinates of the element at hand: kept ones from the output index, reduced ones from loops. */
function emitBody(
  root: Root,
  layout: Layout,
  width: 1 | 4,
  numbers: Numbers,
  forced: ConstructorParameters<typeof Emitter>[2],
): Body {
  const { shape, reduced, last } = layout;
  const bindings = new Bindings(0);
  const emitter = new Emitter(
    root.leaves,
    bindings.nameOf,
    forced,
    new Map(),
    new Set(),
    numbers,
  );
  const keptShape = shape.map((size, d) => reduced.includes(d) ? 1 : size);
  const strides = stridesOf(keptShape);
  const kept: string[] = [];
  const loops: number[] = [];
  const coords = shape.map((size, d) => {
    if (size === 1) return "0u";
    if (reduced.includes(d)) loops.push(d);
    else {
      const results = numel(keptShape);
      const first = keptShape.slice(0, d).every((n) => n === 1);
      if (strides[d] === 1 && first) kept.push(`let c${d} = o;`);
      else if (strides[d] === 1) kept.push(`let c${d} = ${numbers.remainder("o", size, results)};`);
      else {
        kept.push(`let ${first ? "c" : "h"}${d} = ${numbers.quotient("o", strides[d], results)};`);
        if (!first) {
          kept.push(`let c${d} = ${numbers.remainder(`h${d}`, size, results / strides[d])};`);
        }
      }
    }
    return `c${d}`;
  });
  const lanes = width === 4 ? { dim: last, step: 1, aligned: true } : null;
  const ix: Index = { shape, coords, lanes };
  const reduces = root.companion ? [root, root.companion] : [root];
  const values = reduces.map(({ node }) => emitter.value(node.inputs[0], ix));
  return { bindings, numbers, emitter, values, kept, loops };
}

/** The kernels of a `reduce` root; inputs are its leaves in order. */
export function reduceLowering(
  root: Root,
  profile: AdapterProfile,
  epilogue: Epilogue,
  companion?: Companion,
): { lowering: Lowering; leaves: GraphNode[] } {
  const op = root.node.op as Op;
  const layout = layoutOf(root);
  const { shape, reduced, last, outputs } = layout;
  const numbers = new Numbers(true);
  const vector = op !== "argmax" && shape[last] % 4 === 0;
  const { width, accesses, result: body } = withAccesses(vector ? [4, 1] : [1], (width, forced) => {
    const body = emitBody(root, layout, width, numbers, forced);
    return { accesses: body.emitter.accesses, result: body };
  });
  const keptVector = width === 4 && !reduced.includes(last);
  const groups = keptVector ? outputs / 4 : outputs;
  const split = op === "argmax"
    ? { dim: -1, pieces: 1, chunk: 0 }
    : splitOf(layout, width, groups, profile);
  const threads = groups * split.pieces;
  const workgroup = profile.class === "cpu" && threads < 1024 ? profile.lanes || 8 : 64;
  const label = `reduce ${op} [${shape}] over ${reduced}`;
  const { dtype } = root.node.inputs[0];
  const called = { sum: [], amax: ["maximum_1", "maximum_4"], argmax: ["nan_1"] }[op];
  for (const name of isFloat(dtype) ? called : []) body.emitter.helpers.add(name);
  const single = split.pieces === 1;
  const plan: Plan = {
    dtype,
    width,
    keptVector,
    split,
    groups,
    single,
    workgroup,
    header: `${body.bindings.declare(accesses)}\n${helperSource(body.emitter.helpers)}\n${LOWEST}`,
  };
  const { source, sizes } = op === "argmax"
    ? argmaxSource(layout, body, plan)
    : reduceSource(op, layout, body, plan, companion ? [epilogue, companion.epilogue] : [epilogue]);
  const grid = grid1d(Math.ceil(threads / workgroup), profile.maxGrid);
  const inputs = body.bindings.leaves.map((_, i) => `in${i}` as const);
  const beside = companion !== undefined;
  const results: Arg[] = single
    ? [...beside ? ["companion" as const] : [], "out0"]
    : [...beside ? ["tmp1" as const] : [], "tmp0"];
  const epilogues: Arg[] = ["epilogue", ...beside ? ["companionEpilogue" as const] : []];
  const steps: Step[] = [{
    kernel: { label, source, grid, sizes },
    args: [...inputs, ...results, ...single && op !== "argmax" ? epilogues : []],
  }];
  if (!single) {
    const join = op === "sum" ? "sum" : "max";
    const parts = {
      label,
      partial: "tmp0",
      out: "out0",
      terms: split.pieces,
      size: outputs,
      scalar: DTYPES[dtype].computed,
    } as const;
    const besides = companion && { ...companion, partial: "tmp1", size: outputs } as const;
    steps.push(sumParts({ ...parts, join, companion: besides }, profile, epilogue));
  }
  const bytes = outputs * split.pieces * 4;
  return {
    lowering: { scratch: single ? [] : beside ? [bytes, bytes] : [bytes], steps },
    leaves: body.bindings.leaves,
  };
}

interface Plan {
  /** Of what is reduced. */
  readonly dtype: DType;
  readonly width: 1 | 4;
  readonly keptVector: boolean;
  readonly split: Split;
  /** Results, or vectors of them. */
  readonly groups: number;
  readonly single: boolean;
  readonly workgroup: number;
  readonly header: string;
}

/** Opens one loop per reduced dimension; the vector dimension advances by 4. */
function openLoops(layout: Layout, { loops, numbers }: Body, plan: Plan): string {
  return loops.map((dim) => {
    const extent = numbers.of(extentOf(layout, dim, plan.width), "size");
    const cut = dim === plan.split.dim && !plan.single;
    const [from, to] = cut ? ["first", "end"] : ["0u", extent];
    const vector = plan.width === 4 && dim === layout.last;
    return `for (var r${dim} = ${from}; r${dim} < ${to}; r${dim}++) {
    let c${dim} = r${dim}${vector ? " * 4u" : ""};`;
  }).join("\n  ");
}

/** Statements that find result `o` and, where results are cut, the piece of it to compute. */
function placeCode(layout: Layout, { numbers }: Body, plan: Plan): string {
  const outWidth = plan.keptVector ? 4 : 1;
  if (plan.single) return `let o = i * ${outWidth}u;`;
  const groups = numbers.of(plan.groups, "groups");
  const chunk = numbers.of(plan.split.chunk, "chunk");
  const extent = numbers.of(extentOf(layout, plan.split.dim, plan.width), "size");
  return `let piece = i / ${groups};
  let o = (i % ${groups}) * ${outWidth}u;
  let first = piece * ${chunk};
  let end = min(${extent}, first + ${chunk});`;
}

type Text = Pick<Kernel, "source" | "sizes">;

/** The names of the k-th of the values that a kernel reduces: the second is a companion's. */
const namesOf = (k: number) =>
  k === 0
    ? { acc: "acc", total: "total", result: "result" }
    : { acc: "more", total: "sum", result: "companion" };

function reduceSource(
  op: Op,
  layout: Layout,
  body: Body,
  plan: Plan,
  epilogues: readonly Epilogue[],
): Text {
  const { bindings, numbers, emitter } = body;
  const { keptVector, dtype } = plan;
  const wide = plan.width === 4;
  const type = (wide: boolean) => typeOf(dtype, wide);
  const none = op === "sum" ? isFloat(dtype) ? "0.0" : DTYPES[dtype].literal(0) : lowest(dtype);
  const start = wide || op === "sum" ? `${type(wide)}(${none})` : none;
  const emitted = emitter.codesFor(body.values);
  const place = plan.single ? "o" : `piece * ${numbers.of(layout.outputs, "outputs")} + o`;
  const reduced = emitted.values.map((value, k) => {
    const { acc, total, result } = namesOf(k);
    const term = wide ? widen(value, dtype) : value.code;
    const join = (a: string, b: string) => combine(op, dtype, a, b);
    const whole = wide && !keptVector
      ? join(join(`${acc}.x`, `${acc}.y`), join(`${acc}.z`, `${acc}.w`))
      : acc;
    const stored = plan.single
      ? epilogues[k].apply("o", total, keptVector ? 4 : 1)
      : { statements: "", value: total };
    return {
      start: `var ${acc} = ${start};`,
      step: `${acc} = ${combine(op, dtype, acc, term, plan.width)};`,
      finish: `let ${total} = ${whole};
  ${stored.statements}
  ${result}[${keptVector ? `(${place}) / 4u` : place}] = ${stored.value};`,
    };
  });
  const lines = (part: "start" | "step" | "finish") =>
    reduced.map((value) => value[part]).join("\n  ");
  const main = `if (i >= ${numbers.of(plan.groups * plan.split.pieces, "threads")}) { return; }
  ${placeCode(layout, body, plan)}
  ${body.kept.join("\n  ")}
  ${lines("start")}
  ${openLoops(layout, body, plan)}
    ${emitted.code}
    ${lines("step")}
  ${"}".repeat(body.loops.length)}
  ${lines("finish")}`;
  const { declarations, statements, sizes } = numbers.finish(main);
  // A companion's result comes before the reduction's own, whose epilogue follows.
  const outputs = epilogues.map((_, k) => namesOf(k).result).toReversed();
  const last = bindings.next + outputs.length;
  const source = `${plan.header}
${outputs.map((name, i) => storage(bindings.next + i, name, type(keptVector))).join("\n")}
${plan.single ? epilogues.map((epilogue) => epilogue.declarations(last)).join("\n") : ""}
${declarations}
${entry(plan.workgroup)}
  ${statements}
}
`;
  return { source, sizes };
}

function argmaxSource(layout: Layout, body: Body, plan: Plan): Text {
  const { bindings, numbers, emitter } = body;
  const { code, value } = emitter.codeFor(body.values[0]);
  const dim = layout.reduced[0];
  const length = layout.shape[dim];
  const repeats = Math.ceil(length / MAX_TERMS);
  if (repeats > MAX_REPEATS) {
    throw new RangeError(`argmax of ${length} elements: ${MAX_TERMS * MAX_REPEATS} is the most.`);
  }
  const higher = isFloat(plan.dtype) ? "(x > best || nan_1(x)) && !nan_1(best)" : "x > best";
  const look = `${code}
    let x = ${typeOf(plan.dtype, false)}(${value.code});
    if (${higher}) { best = x; at = c${dim}; }`;
  const size = numbers.of(length, "size");
  const round = (k: number) =>
    `let c${dim} = r * ${repeats}u + ${k}u;
    if (c${dim} < ${size}) { ${look} }`;
  const rounds = Array.from({ length: repeats }, (_, k) => `{ ${round(k)} }`).join("\n    ");
  const loop = repeats === 1
    ? `for (var c${dim} = 0u; c${dim} < ${size}; c${dim}++) { ${look} }`
    : `for (var r = 0u; r * ${repeats}u < ${size}; r++) { ${rounds} }`;
  const main = `let o = i;
  if (o >= ${numbers.of(plan.groups, "threads")}) { return; }
  ${body.kept.join("\n  ")}
  var best = ${lowest(plan.dtype)};
  var at = 0u;
  ${body.loops.length === 0 ? `{ let c${dim} = 0u; ${look} }` : loop}
  result[o] = at;`;
  const { declarations, statements, sizes } = numbers.finish(main);
  const source = `${plan.header}
${storage(bindings.next, "result", "u32")}
${declarations}
${entry(plan.workgroup)}
  ${statements}
}
`;
  return { source, sizes };
}

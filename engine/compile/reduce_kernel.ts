/** Kernels generated for sums, maxima and argmax, with what they read computed on the way. */
import type { AdapterProfile } from "../device.ts";
import { type Shape, stridesOf } from "../shape.ts";
import { type Epilogue, grid1d, type Lowering, type Step, storage } from "../../shaders/kernel.ts";
import { Emitter, helperSource, type Index, type Value, widen } from "./emit.ts";
import type { Root } from "./fuse.ts";
import type { GraphNode } from "./graph.ts";
import { Bindings, ENTRY, withAccesses, WORKGROUP } from "./map_kernel.ts";

type Op = "sum" | "amax" | "argmax";

/** Runtime bits, because compilers refuse or fold constant infinities. */
const LOWEST = "var<private> lowest_bits: u32 = 0xff800000u;";
const lowest = "bitcast<f32>(lowest_bits)";

interface Layout {
  readonly input: GraphNode;
  readonly shape: Shape;
  readonly reduced: readonly number[];
  readonly outputs: number;
  /** Last dimension longer than 1: the one along which vectors may run. */
  readonly last: number;
}

function layoutOf(root: Root): Layout {
  const input = root.node.inputs[0];
  const attributes = root.node.tensor.attributes as { dims?: readonly number[]; dim?: number };
  const reduced = attributes.dims ?? [attributes.dim!];
  const last = input.shape.findLastIndex((size) => size > 1);
  return { input, shape: input.shape, reduced, outputs: root.node.size, last: Math.max(last, 0) };
}

/** How the longest reduced dimension is cut so that enough invocations work. */
function splitOf(
  layout: Layout,
  width: 1 | 4,
  profile: AdapterProfile,
): { dim: number; pieces: number; chunk: number } {
  const { shape, reduced, last } = layout;
  const extent = (d: number) => width === 4 && d === last ? shape[d] / 4 : shape[d];
  const dim = reduced.reduce((a, b) => extent(b) > extent(a) ? b : a);
  const keptVector = width === 4 && !reduced.includes(last);
  const threads = keptVector ? layout.outputs / 4 : layout.outputs;
  const total = reduced.reduce((n, d) => n * extent(d), 1);
  const wanted = profile.class === "cpu" ? 64 : 8192;
  const useful = Math.max(1, Math.floor(total / 16));
  const pieces = Math.max(1, Math.min(extent(dim), useful, Math.ceil(wanted / threads)));
  const chunk = Math.ceil(extent(dim) / pieces);
  return { dim, pieces: Math.ceil(extent(dim) / chunk), chunk };
}

const combine = (op: Op, a: string, b: string) => op === "sum" ? `${a} + ${b}` : `max(${a}, ${b})`;

interface Body {
  readonly emitter: Emitter;
  readonly value: Value;
  readonly kept: string[];
  readonly loops: { variable: string; dim: number }[];
}

/** Coordinates of the element at hand: kept ones from the output index, reduced ones from loops. */
function emitBody(root: Root, layout: Layout, width: 1 | 4, emitter: Emitter): Body {
  const { shape, reduced, last } = layout;
  const keptShape = shape.map((size, d) => reduced.includes(d) ? 1 : size);
  const strides = stridesOf(keptShape);
  const kept: string[] = [];
  const loops: { variable: string; dim: number }[] = [];
  const coords = shape.map((size, d) => {
    if (size === 1) return "0u";
    if (reduced.includes(d)) {
      loops.push({ variable: `r${d}`, dim: d });
      return `c${d}`;
    }
    const first = keptShape.slice(0, d).every((n) => n === 1);
    kept.push(`let c${d} = (o / ${strides[d]}u)${first ? "" : ` % ${size}u`};`);
    return `c${d}`;
  });
  const lanes = width === 4 ? { dim: last, step: 1, aligned: true } : null;
  const ix: Index = { shape, coords, lanes };
  return { emitter, value: emitter.value(root.node.inputs[0], ix), kept, loops };
}

/** The kernels of a `reduce` root; inputs are its leaves in order. */
export function reduceLowering(
  root: Root,
  profile: AdapterProfile,
  epilogue: Epilogue,
): { lowering: Lowering; leaves: GraphNode[] } {
  const op = root.node.op as Op;
  const layout = layoutOf(root);
  const vector = op !== "argmax" && layout.shape[layout.last] % 4 === 0;
  const { width, accesses, result } = withAccesses(vector ? [4, 1] : [1], (width, forced) => {
    const bindings = new Bindings(0);
    const emitter = new Emitter(root.leaves, bindings.nameOf, forced);
    const body = emitBody(root, layout, width, emitter);
    return { accesses: emitter.accesses, result: { bindings, body } };
  });
  const { bindings, body } = result;
  const keptVector = width === 4 && !layout.reduced.includes(layout.last);
  const split = op === "argmax" || root.node.dtype !== "f32"
    ? { dim: -1, pieces: 1, chunk: 0 }
    : splitOf(layout, width, profile);
  const header = `${bindings.declare(accesses)}\n${helperSource(body.emitter.helpers)}\n${LOWEST}`;
  const inputs = bindings.leaves.map((_, i) => `in${i}` as const);
  const label = `reduce ${op} [${layout.shape}] over ${layout.reduced}`;
  const single = split.pieces === 1;
  const main = op === "argmax"
    ? argmaxSource(layout, body, header, bindings.next)
    : reduceSource(op, layout, body, {
      width,
      keptVector,
      split,
      header,
      bindings: bindings.next,
      single,
      dtype: root.node.dtype,
    }, epilogue);
  const threads = (keptVector ? layout.outputs / 4 : layout.outputs) * split.pieces;
  const grid = grid1d(Math.ceil(threads / WORKGROUP), profile.maxGrid);
  const steps: Step[] = [{
    kernel: { label, source: main(threads), grid },
    args: [
      ...inputs,
      single ? "out0" : "tmp0",
      ...(single && op !== "argmax" ? ["epilogue" as const] : []),
    ],
  }];
  if (!single) steps.push(joinStep(op, layout.outputs, split.pieces, label, profile, epilogue));
  return {
    lowering: { scratch: single ? [] : [layout.outputs * split.pieces * 4], steps },
    leaves: bindings.leaves,
  };
}

interface Plan {
  readonly width: 1 | 4;
  readonly keptVector: boolean;
  readonly split: { dim: number; pieces: number; chunk: number };
  readonly header: string;
  readonly bindings: number;
  readonly single: boolean;
  readonly dtype: string;
}

/** Opens one loop per reduced dimension; the vector dimension advances by 4. */
function openLoops(layout: Layout, body: Body, plan: Plan): string {
  return body.loops.map(({ variable, dim }) => {
    const vector = plan.width === 4 && dim === layout.last;
    const extent = vector ? layout.shape[dim] / 4 : layout.shape[dim];
    const cut = dim === plan.split.dim && !plan.single;
    const from = cut ? `piece * ${plan.split.chunk}u` : "0u";
    const to = cut ? `min(${extent}u, (piece + 1u) * ${plan.split.chunk}u)` : `${extent}u`;
    return `for (var ${variable} = ${from}; ${variable} < ${to}; ${variable}++) {
    let c${dim} = ${vector ? `${variable} * 4u` : variable};`;
  }).join("\n  ");
}

function reduceSource(op: Op, layout: Layout, body: Body, plan: Plan, epilogue: Epilogue) {
  const { width, keptVector } = plan;
  const wide = width === 4;
  const start = op === "sum"
    ? `${wide ? "vec4<f32>" : "f32"}(0.0)`
    : wide
    ? `vec4<f32>(${lowest})`
    : lowest;
  const value = wide ? widen(body.value, "f32") : body.value.code;
  const total = wide && !keptVector
    ? combine(op, combine(op, "acc.x", "acc.y"), combine(op, "acc.z", "acc.w"))
    : "acc";
  const outWidth = keptVector ? 4 : 1;
  const stored = plan.single
    ? epilogue.apply("o", "total", outWidth)
    : { statements: "", value: "total" };
  const place = plan.single ? "o" : `piece * ${layout.outputs}u + o`;
  const exact = plan.single && layout.outputs % 4 === 0;
  const groups = layout.outputs / outWidth;
  const cut = `let piece = i / ${groups}u;\n  let o = (i % ${groups}u) * ${outWidth}u;`;
  return (threads: number) =>
    `${plan.header}
${storage(plan.bindings, "result", keptVector ? "vec4<f32>" : "f32")}
${plan.single ? epilogue.declarations(plan.bindings + 1) : ""}
${ENTRY}
  if (i >= ${exact ? "arrayLength(&result)" : `${threads}u`}) { return; }
  ${plan.single ? `let o = i * ${outWidth}u;` : cut}
  ${body.kept.join("\n  ")}
  var acc = ${start};
  ${openLoops(layout, body, plan)}
    ${body.emitter.codeFor(body.value.code)}
    acc = ${combine(op, "acc", value)};
  ${"}".repeat(body.loops.length)}
  let total = ${total};
  ${stored.statements}
  result[${keptVector ? `(${place}) / 4u` : place}] = ${stored.value};
}
`;
}

function argmaxSource(layout: Layout, body: Body, header: string, bindings: number) {
  const { dim } = { dim: layout.reduced[0] };
  const loop = body.loops.length === 0
    ? `{ let c${dim} = 0u;`
    : `for (var c${dim} = 0u; c${dim} < ${layout.shape[dim]}u; c${dim}++) {`;
  return (threads: number) =>
    `${header}
${storage(bindings, "result", "u32")}
${ENTRY}
  let o = i;
  if (o >= ${threads}u) { return; }
  ${body.kept.join("\n  ")}
  var best = ${lowest};
  var at = 0u;
  ${loop}
    ${body.emitter.codeFor(body.value.code)}
    if (f32(${body.value.code}) > best) { best = f32(${body.value.code}); at = c${dim}; }
  }
  result[o] = at;
}
`;
}

/** Joins the partial results of the pieces in a fixed order. */
function joinStep(
  op: Op,
  outputs: number,
  pieces: number,
  label: string,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Step {
  const grid = grid1d(Math.ceil(outputs / WORKGROUP), profile.maxGrid);
  const stored = epilogue.apply("o", "acc", 1);
  const source = `${storage(0, "partial")}
${storage(1, "result")}
${epilogue.declarations(2)}
${ENTRY}
  let o = i;
  if (o >= ${outputs}u) { return; }
  var acc = partial[o];
  for (var p = 1u; p < ${pieces}u; p++) { acc = ${
    combine(op, "acc", `partial[p * ${outputs}u + o]`)
  }; }
  ${stored.statements}
  result[o] = ${stored.value};
}
`;
  return { kernel: { label: `${label} (join)`, source, grid }, args: ["tmp0", "out0", "epilogue"] };
}

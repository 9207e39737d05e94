/** Kernels generated for elementwise roots, and the epilogues that fold them into other kernels. */
import type { Attributes } from "../attributes.ts";
import { numel } from "../shape.ts";
import { type Epilogue, grid1d, IDENTITY, type Kernel, storage } from "../../shaders/kernel.ts";
import type { AdapterProfile } from "../device.ts";
import {
  type Access,
  Emitter,
  helperSource,
  type Index,
  NotVectorisable,
  type Value,
  widen,
} from "./emit.ts";
import type { Root } from "./fuse.ts";
import type { GraphNode } from "./graph.ts";

/** Invocations of a generated kernel's workgroup. */
export const WORKGROUP = 64;

/** Head of a kernel whose invocations are numbered by `i`, whatever the grid. */
export const ENTRY = `@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * ${WORKGROUP}u;`;

/**
 * Number of invocations that have work. Where the binding holds exactly the result, its length tells,
 * and one kernel serves all batch sizes: compiling is what costs most on CPU adapters.
 */
function limitOf(root: Root, count: number): string {
  return root.kind === "map" && root.node.size % 4 === 0 ? "arrayLength(&result)" : `${count}u`;
}

/** Binding names of leaves, in binding order; one name for all nodes that share a buffer. */
export function bindingsOf(leaves: Iterable<GraphNode>, first: number): Map<GraphNode, string> {
  const names = new Map<GraphNode, string>();
  for (const leaf of [...leaves].sort((a, b) => a.index - b.index)) {
    if (!names.has(leaf)) names.set(leaf, `x${first + names.size}`);
  }
  return names;
}

/** Declarations of leaves as the emitters read them. */
export function declare(
  names: ReadonlyMap<GraphNode, string>,
  first: number,
  accesses: ReadonlyMap<GraphNode, Access>,
): string {
  return [...names].map(([leaf, name], i) => {
    const vector = accesses.get(leaf) === "vector";
    return storage(first + i, name, vector ? `vec4<${leaf.dtype}>` : leaf.dtype);
  }).join("\n");
}

/**
 * Runs `attempt` with width 4 (where allowed), then 1; repeats it once where a leaf turns out to be
 * read both as vectors and as scalars.
 */
export function withAccesses<T>(
  widths: readonly (1 | 4)[],
  attempt: (
    width: 1 | 4,
    forced: Map<GraphNode, Access>,
  ) => { accesses: Map<GraphNode, Access>; result: T },
): { width: 1 | 4; accesses: Map<GraphNode, Access>; result: T } {
  for (const width of widths) {
    try {
      const first = attempt(width, new Map());
      const forced = new Map([...first.accesses].filter(([, a]) => a === "scalar"));
      const last = forced.size > 0 ? attempt(width, forced) : first;
      return { width, ...last };
    } catch (error) {
      if (!(error instanceof NotVectorisable) || width === 1) throw error;
    }
  }
  throw new Error("A scalar kernel could not be generated.");
}

const flatIndex = (node: GraphNode, flat: string, width: 1 | 4): Index => ({
  shape: node.shape,
  flat,
  lanes: width === 4 ? { dim: "flat", step: 1, aligned: true } : null,
});

/** Where a map root stores the element at flat index `f` of its iteration. */
function placeOf(
  root: Root,
): { stored: GraphNode; place: (flat: string) => string; widths: (1 | 4)[] } {
  if (root.kind !== "part") {
    const stored = root.node;
    return { stored, place: (f) => f, widths: stored.size % 4 === 0 ? [4, 1] : [1] };
  }
  const { dim } = root.node.tensor.attributes as Attributes["cat"];
  const stored = root.node.inputs[root.part];
  const inner = numel(stored.shape.slice(dim + 1));
  const chunk = stored.shape[dim] * inner;
  const total = root.node.shape[dim] * inner;
  const before = root.node.inputs.slice(0, root.part).reduce((n, x) => n + x.shape[dim], 0) * inner;
  const even = [chunk, total, before].every((n) => n % 4 === 0);
  const place = (f: string) => `(${f} / ${chunk}u) * ${total}u + ${before}u + ${f} % ${chunk}u`;
  return { stored, place, widths: even ? [4, 1] : [1] };
}

/** The kernel of a `map` or `part` root; bindings are its leaves in order, then the output. */
export function mapKernel(
  root: Root,
  profile: AdapterProfile,
): { kernel: Kernel; leaves: GraphNode[] } {
  const { stored, place, widths } = placeOf(root);
  const names = bindingsOf(root.leaves, 0);
  const { width, accesses, result } = withAccesses(widths, (width, forced) => {
    const emitter = new Emitter(root.leaves, (leaf) => names.get(leaf)!, forced);
    const value = emitter.value(stored, flatIndex(stored, "f", width));
    return { accesses: emitter.accesses, result: { emitter, value } };
  });
  const { emitter, value } = result;
  const count = stored.size / width;
  const grid = grid1d(Math.ceil(count / WORKGROUP), profile.maxGrid);
  const type = width === 4 ? `vec4<${stored.dtype}>` : stored.dtype;
  const target = width === 4 ? `(${place("f")}) / 4u` : place("f");
  const source = `${declare(names, 0, accesses)}
${storage(names.size, "result", type)}
${helperSource(emitter.helpers)}
${ENTRY}
  if (i >= ${limitOf(root, count)}) { return; }
  let f = i * ${width}u;
  ${emitter.codeFor(value.code)}
  result[${root.kind === "map" && width === 4 ? "i" : target}] = ${
    width === 4 ? widen(value, stored.dtype) : value.code
  };
}
`;
  const label = `${root.kind} ${stored.op} [${stored.shape}]`;
  return { kernel: { label, source, grid }, leaves: [...names.keys()] };
}

const MARK = "//@epilogue ";

/** An epilogue in the making: kernels place its mark and calls, {@link finish} writes its code. */
export interface PendingEpilogue {
  readonly epilogue: Epilogue;
  /** Leaves that the epilogue reads, in binding order. */
  readonly leaves: readonly GraphNode[];
  /** Completes the source of a kernel that called the epilogue. */
  finish(kernel: Kernel): Kernel;
}

/** Folds the elementwise root `root` into the store of `host`, whose value it starts from. */
export function epilogueOf(root: Root | undefined, host: GraphNode): PendingEpilogue {
  if (!root) return { epilogue: IDENTITY, leaves: [], finish: (kernel) => kernel };
  const leaves = [...root.leaves].filter((leaf) => leaf !== host);
  const ordered = [...bindingsOf(leaves, 0).keys()];
  const epilogue: Epilogue = {
    declarations: (first) => `${MARK}${first}\n`,
    apply: (index, value, width) => ({
      statements: "",
      value: `epilogue_${width}(${index}, ${value})`,
    }),
  };
  const finish = (kernel: Kernel): Kernel => {
    const at = kernel.source.indexOf(MARK);
    if (at < 0) return kernel;
    const first = parseInt(kernel.source.slice(at + MARK.length));
    const widths = ([1, 4] as const).filter((w) => kernel.source.includes(`epilogue_${w}(`));
    const mark = `${MARK}${first}\n`;
    return {
      ...kernel,
      source: kernel.source.replace(mark, functionsOf(root, host, leaves, first, widths)),
    };
  };
  return { epilogue, leaves: ordered, finish };
}

function functionsOf(
  root: Root,
  host: GraphNode,
  leaves: readonly GraphNode[],
  first: number,
  widths: readonly (1 | 4)[],
): string {
  const names = bindingsOf(leaves, first);
  const emit = (width: 1 | 4, forced: Map<GraphNode, Access>) => {
    const acc: Value = { code: "acc", wide: width === 4 };
    const emitter = new Emitter(root.leaves, (l) => names.get(l)!, forced, new Map([[host, acc]]));
    const value = emitter.value(root.node, flatIndex(root.node, "f", width));
    return { accesses: emitter.accesses, result: { emitter, value } };
  };
  const write = (width: 1 | 4, { emitter, value }: { emitter: Emitter; value: Value }) => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    return `fn epilogue_${width}(f: u32, acc: ${type}) -> ${type} {
  ${emitter.codeFor(value.code)}
  return ${width === 4 ? widen(value, "f32") : value.code};
}`;
  };
  const only = widths.length === 1 ? widths[0] : undefined;
  const made = withAccesses(only === 4 ? [4, 1] : [1], emit);
  const parts = [declare(names, first, made.accesses), helperSource(made.result.emitter.helpers)];
  parts.push(write(made.width, made.result));
  if (widths.includes(4) && made.width === 1) {
    const each = [0, 1, 2, 3].map((l) => `epilogue_1(f + ${l}u, acc[${l}])`).join(", ");
    parts.push(
      `fn epilogue_4(f: u32, acc: vec4<f32>) -> vec4<f32> {\n  return vec4<f32>(${each});\n}`,
    );
  }
  return parts.join("\n") + "\n";
}

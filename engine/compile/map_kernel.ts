/** Kernels generated for elementwise roots, and the epilogues that fold them into other kernels. */
import type { Attributes } from "../attributes.ts";
import { numel } from "../shape.ts";
import {
  type Coordinate,
  type Epilogue,
  grid1d,
  IDENTITY,
  type Kernel,
  storage,
} from "../../shaders/kernel.ts";
import type { AdapterProfile } from "../device.ts";
import {
  type Access,
  Emitter,
  helperSource,
  type Index,
  NotVectorisable,
  typeOf,
  type Value,
  widen,
} from "./emit.ts";
import type { Root } from "./fuse.ts";
import { Numbers } from "./numbers.ts";
import type { GraphNode } from "./graph.ts";

/** Invocations of a generated kernel's workgroup. */
export const WORKGROUP = 64;

/** Head of a kernel whose invocations are numbered by `i`, whatever the grid. */
export const entry = (workgroup = WORKGROUP) =>
  `@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * ${workgroup}u;`;

/**
 * Names and order of the bindings that code reads: as they first occur there, so that kernels which
 * differ only in the order in which their inputs were made share their text.
 */
export class Bindings {
  private readonly names = new Map<GraphNode, string>();

  /** @param first number of the first binding. */
  constructor(private readonly first: number) {}

  /** The name of a leaf; the next binding becomes its own where it has none. */
  readonly nameOf = (leaf: GraphNode): string => {
    const name = this.names.get(leaf) ?? `x${this.next}`;
    this.names.set(leaf, name);
    return name;
  };

  /** Number of the binding after the last one. */
  get next(): number {
    return this.first + this.names.size;
  }

  /** The leaves in binding order. */
  get leaves(): GraphNode[] {
    return [...this.names.keys()];
  }

  /** Declarations of the leaves as the emitters read them. */
  declare(accesses: ReadonlyMap<GraphNode, Access>): string {
    return [...this.names].map(([leaf, name], i) => {
      const vector = accesses.get(leaf) === "vector";
      return storage(this.first + i, name, typeOf(leaf.dtype, vector));
    }).join("\n");
  }
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

const flatIndex = (
  node: GraphNode,
  flat: string,
  width: 1 | 4,
  known: readonly Coordinate[] = [],
): Index => ({
  shape: node.shape,
  flat,
  known,
  lanes: width === 4 ? { dim: "flat", step: 1, aligned: true } : null,
});

/** Where a map root stores the element at flat index `f` of its iteration. */
function placeOf(
  root: Root,
  numbers: Numbers,
): { stored: GraphNode; piece: string; place: string; widths: (1 | 4)[] } {
  if (root.kind !== "part") {
    const stored = root.node;
    return { stored, piece: "", place: "f", widths: stored.size % 4 === 0 ? [4, 1] : [1] };
  }
  const { dim } = root.node.tensor.attributes as Attributes["cat"];
  const stored = root.node.inputs[root.part];
  const inner = numel(stored.shape.slice(dim + 1));
  const chunk = stored.shape[dim] * inner;
  const total = root.node.shape[dim] * inner;
  const before = root.node.inputs.slice(0, root.part).reduce((n, x) => n + x.shape[dim], 0) * inner;
  const even = [chunk, total, before].every((n) => n % 4 === 0);
  // f / chunk * total + before + f % chunk, with one division.
  const place = `f + ${numbers.product("piece", total - chunk)} + ${numbers.of(before, "start")}`;
  const piece = `let piece = ${numbers.quotient("f", chunk, stored.size)};`;
  return { stored, piece, place, widths: even ? [4, 1] : [1] };
}

/** The kernel of a `map` or `part` root; bindings are its leaves in order, then the output. */
export function mapKernel(
  root: Root,
  profile: AdapterProfile,
): { kernel: Kernel; leaves: GraphNode[] } {
  const numbers = new Numbers(true);
  const { stored, piece, place, widths } = placeOf(root, numbers);
  const { width, accesses, result } = withAccesses(widths, (width, forced) => {
    const bindings = new Bindings(0);
    const emitter = new Emitter(
      root.leaves,
      bindings.nameOf,
      forced,
      new Map(),
      new Set(),
      numbers,
    );
    const value = emitter.value(stored, flatIndex(stored, "f", width));
    return { accesses: emitter.accesses, result: { bindings, emitter, value } };
  });
  const { bindings, emitter } = result;
  const { code, value } = emitter.codeFor(result.value);
  const count = stored.size / width;
  const grid = grid1d(Math.ceil(count / WORKGROUP), profile.maxGrid);
  const type = typeOf(stored.dtype, width === 4);
  const { declarations, statements, sizes } = numbers.finish(
    `if (i >= ${numbers.of(count, "threads")}) { return; }
  let f = i * ${width}u;
  ${code}
  ${piece}
  result[${width === 1 ? place : root.kind === "map" ? "i" : `(${place}) / 4u`}] = ${
      width === 4 ? widen(value, stored.dtype) : value.code
    };`,
  );
  const source = `${bindings.declare(accesses)}
${storage(bindings.next, "result", type)}
${helperSource(emitter.helpers)}
${declarations}
${entry()}
  ${statements}
}
`;
  const label = `${root.kind} ${stored.op} [${stored.shape}]`;
  return { kernel: { label, source, grid, sizes }, leaves: bindings.leaves };
}

/** What epilogues of one kernel are told apart by. */
type Role = "epilogue" | "companion";

const markOf = (role: Role) => `//@${role} `;

/** An epilogue in the making: kernels place its mark and calls, {@link finish} writes its code. */
export interface PendingEpilogue {
  readonly epilogue: Epilogue;
  /** Leaves that the epilogue reads, in binding order. */
  readonly leaves: readonly GraphNode[];
  /** Completes the source of a kernel that called the epilogue. */
  finish(kernel: Kernel): Kernel;
}

/**
 * Folds the elementwise root `root` into the store of `host`, whose value it starts from.
 *
 * @param before the epilogue whose bindings come first in kernels that have both; it is to be finished
 * after this one, which is a companion's.
 */
export function epilogueOf(
  root: Root | undefined,
  host: GraphNode,
  before?: PendingEpilogue,
): PendingEpilogue {
  const role = before ? "companion" : "epilogue";
  const mark = markOf(role);
  if (!root) return { epilogue: IDENTITY, leaves: [], finish: (kernel) => kernel };
  const bindings = new Bindings(0);
  const given = new Map([[host, { code: "acc", wide: false }]]);
  new Emitter(root.leaves, bindings.nameOf, new Map(), given)
    .value(root.node, flatIndex(root.node, "f", 1));
  const variants = new Map<string, Variant>();
  const epilogue: Epilogue = {
    declarations: (first) => `${mark}${first}\n`,
    apply: (index, value, width, known = []) => {
      const key = [width, ...known.map(({ stride, size }) => `${stride}:${size}`)].join();
      const name = variants.get(key)?.name ?? `${role}_${variants.size}`;
      variants.set(key, { name, width, known });
      const args = [index, value, ...known.map(({ code }) => code)];
      return { statements: "", value: `${name}(${args.join(", ")})` };
    },
  };
  const finish = (kernel: Kernel): Kernel => {
    const at = kernel.source.indexOf(mark);
    if (at < 0) return kernel;
    const first = parseInt(kernel.source.slice(at + mark.length));
    const both = before && kernel.source.includes(markOf("epilogue"));
    const called = [...variants.values()].filter(({ name }) => kernel.source.includes(`${name}(`));
    const skipped = both ? before.leaves.length : 0;
    const text = functionsOf(root, host, first + skipped, called, role);
    return { ...kernel, source: completed(kernel.source, `${mark}${first}\n`, text) };
  };
  return { epilogue, leaves: bindings.leaves, finish };
}

const completedTexts = new Map<string, Map<string, string>>();

/** `source` with `text` in place of `mark`; the same string for the same texts. */
function completed(source: string, mark: string, text: string): string {
  let texts = completedTexts.get(source);
  if (!texts) completedTexts.set(source, texts = new Map());
  let found = texts.get(text);
  if (found === undefined) texts.set(text, found = source.replace(mark, text));
  return found;
}

/** A function that an epilogue's code becomes, for values of one width and the same coordinates. */
interface Variant {
  readonly name: string;
  readonly width: 1 | 4;
  readonly known: readonly Coordinate[];
}

/** Coordinates by the names that an epilogue's function gives them: of each of `width` values. */
function parametersOf({ known, width }: Variant, emitted: 1 | 4): Coordinate[] {
  const named = known.map((c, i) => ({ ...c, code: `at${i}` }));
  // Four neighbours differ in the last coordinate, and may differ in others where those are odd.
  return width === emitted ? named : named.filter((c) => c.stride === 1 || c.stride % 4 === 0);
}

function functionsOf(
  root: Root,
  host: GraphNode,
  first: number,
  variants: readonly Variant[],
  role: Role,
): string {
  const emit = (width: 1 | 4, forced: Map<GraphNode, Access>) => {
    const bindings = new Bindings(first);
    const accesses = new Map<GraphNode, Access>();
    const helpers = new Set<string>();
    const acc: Value = { code: "acc", wide: width === 4 };
    const functions = variants.map((variant) => {
      const given = new Map([[host, acc]]);
      const emitter = new Emitter(root.leaves, bindings.nameOf, forced, given, helpers);
      const known = parametersOf(variant, width);
      const value = emitter.value(root.node, flatIndex(root.node, "f", width, known));
      for (const [leaf, access] of emitter.accesses) {
        if (accesses.get(leaf) !== "scalar") accesses.set(leaf, access);
      }
      const emitted = emitter.codeFor(value);
      const code = `${emitted.code}
  return ${width === 4 ? widen(emitted.value, "f32") : emitted.value.code};`;
      return functionOf(variant, width, code);
    });
    return { accesses, result: { bindings, functions, helpers } };
  };
  const wide = variants.every(({ width }) => width === 4);
  const { accesses, result } = withAccesses(wide ? [4, 1] : [1], emit);
  const parts = [result.bindings.declare(accesses), helperSource(result.helpers)];
  return renamed([...parts, ...result.functions].join("\n") + "\n", result.helpers, role);
}

/** `text` with names of its own for the helpers: the kernel that it becomes part of may have the same. */
function renamed(text: string, helpers: ReadonlySet<string>, role: Role): string {
  const names = [...helpers].map((name) => new RegExp(`\\b${name}\\b`, "g"));
  return names.reduce((result, name) => result.replace(name, `${role}_$&`), text);
}

/** WGSL of a variant whose `code` is emitted for `width` values; four may be done one by one. */
function functionOf(variant: Variant, width: 1 | 4, code: string): string {
  const head = (name: string, width: 1 | 4, known: readonly Coordinate[]) => {
    const type = width === 4 ? "vec4<f32>" : "f32";
    const parameters = ["f: u32", `acc: ${type}`, ...known.map((c) => `${c.code}: u32`)];
    return `fn ${name}(${parameters.join(", ")}) -> ${type}`;
  };
  const known = parametersOf(variant, width);
  if (width === variant.width) return `${head(variant.name, width, known)} {\n  ${code}\n}`;
  const each = `${variant.name}_each`;
  const calls = [0, 1, 2, 3].map((l) => {
    const places = known.map(({ code, stride }) => stride === 1 ? `${code} + ${l}u` : code);
    return `${each}(${[`f + ${l}u`, `acc[${l}]`, ...places].join(", ")})`;
  });
  return `${head(each, 1, known)} {\n  ${code}\n}
${head(variant.name, 4, parametersOf(variant, 4))} {\n  return vec4<f32>(${calls.join(", ")});\n}`;
}

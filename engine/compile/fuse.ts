/** Decides which nodes get buffers and kernels, and which are folded into the kernels that read them. */
import type { Primitive } from "../attributes.ts";
import { isFloat } from "../dtype.ts";
import { worthwhile } from "./epilogue_worth.ts";
import { pairSums, positionOf } from "./companions.ts";
import type { Shape } from "../shape.ts";
import { type Graph, type GraphNode, strip } from "./graph.ts";
import { plainView, roundedView, type View, viewOf } from "./views.ts";

/**
 * One kernel (or hand-written lowering) to be. `map`: an elementwise kernel that stores `node`;
 * `part`: the same, storing input `part` of a `cat`; `reduce`: a reduction with its prologue;
 * `heavy`: a primitive with kernels of its own.
 */
export interface Root {
  readonly kind: "map" | "part" | "reduce" | "heavy";
  readonly node: GraphNode;
  /** Which input of a `cat` this stores; 0 otherwise. */
  readonly part: number;
  /** Nodes whose buffers the generated code reads. */
  readonly leaves: Set<GraphNode>;
  /** Inputs of a `heavy` root, in order. */
  readonly views: readonly View[];
  inlined: number;
  /** How often the code of a node would appear in the kernel: movement splits an index into several. */
  readonly contexts: Map<GraphNode, { same: number; moved: number }>;
  /** The elementwise root that is computed in this root's store. */
  epilogue: Root | undefined;
  /** The sum that this root's kernels compute on the way. */
  companion: Root | undefined;
}

const MOVEMENT = new Set<Primitive>([
  "reshape",
  "permute",
  "expand",
  "slice",
  "pad",
  "indexSelect",
  "detach",
  "constant",
  "iota",
]);
const REDUCTIONS = new Set<Primitive>(["sum", "amax", "argmax"]);
const CHEAP = new Set<Primitive>([
  "neg",
  "add",
  "sub",
  "mul",
  "abs",
  "cast",
  "bitcast",
  "relu",
  "lt",
  "le",
  "eq",
]);
const COMPUTE = new Set<Primitive>([
  ...CHEAP,
  ...([
    "sign",
    "floor",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
  ] as const),
  ...(["softplus", "div", "pow", "maximum", "minimum", "xor", "shiftRight", "where"] as const),
]);

/** True for nodes that can be computed inside other kernels. */
export const isFused = (n: GraphNode) => MOVEMENT.has(n.op) || COMPUTE.has(n.op);

const isConstant = (n: GraphNode): boolean =>
  n.op === "constant" || ((n.op === "expand" || n.op === "reshape") && isConstant(n.inputs[0]));

/** Whether `n` is a constant, or the elements of its input as they are. */
const isFree = (n: GraphNode): boolean => isConstant(n) || strip(n) !== n;

/** Whether `n` is computed from `leaves` element by element, all of them in its flat order. */
export function keepsOrder(n: GraphNode, leaves: ReadonlySet<GraphNode>): boolean {
  if (leaves.has(n) || isConstant(n)) return true;
  const keeps = COMPUTE.has(n.op) || n.op === "reshape" || n.op === "detach";
  return keeps && n.inputs.every((x) => keepsOrder(x, leaves));
}

/** Cheap functions of one varying input: recomputing them costs less than storing and loading. */
const isRecomputable = (n: GraphNode) =>
  MOVEMENT.has(n.op) || n.op === "erf" ||
  (CHEAP.has(n.op) && n.inputs.filter((x) => !isConstant(x)).length <= 1);

/** Elements that a root's kernel walks over. */
const iterations = (root: Root) =>
  root.kind === "map" ? root.node.size : root.node.inputs[root.part].size;

/** Recomputing a broadcast value at every element must cost less than a dispatch of its own. */
function wasteful(n: GraphNode, root: Root): boolean {
  if (MOVEMENT.has(n.op)) return false;
  const extra = iterations(root) - n.size;
  return iterations(root) > 2 * n.size && extra * (CHEAP.has(n.op) ? 0.25 : 1) > 32768;
}

const MAX_INLINED = 160;

/** Movement that reads its input at another index than it is read at. */
const splitsIndex = (n: GraphNode) =>
  n.op === "cat" || (MOVEMENT.has(n.op) && n.op !== "reshape" && n.op !== "detach");

/** Elements up to which a join is one kernel that reads all parts for each, rather than one a part. */
const SMALL_JOIN = 16384;

function contextsOf(n: GraphNode, root: Root): number {
  const context = root.contexts.get(n);
  return context ? context.same + context.moved : 1;
}

/** What kernels can do with their neighbours in the graph. */
export interface Abilities {
  readonly maxBindings: number;
  /** Bindings that nodes' values take beyond one each. */
  readonly furtherBindings: (nodes: Iterable<GraphNode>) => number;
  /** Tells which primitives' kernels can compute an elementwise root in their store. */
  readonly takesEpilogue: (op: Primitive) => boolean;
  /** Tells whether a primitive's kernels read one of its inputs where it lies. */
  readonly readsInPlace: (
    op: Primitive,
    index: number,
    shape: Shape,
    strides: readonly number[],
  ) => boolean;
  /** Tells which primitives' kernels can sum their transposed left factor on the way. */
  readonly sumsLeft: (op: Primitive) => boolean;
  /** Whether compiling takes long: epilogues that occur seldom then stay apart. */
  readonly frugal: boolean;
  /** Without it each node has a kernel of its own, but for constants and renamed shapes. */
  readonly fusion: boolean;
}

/** Inputs of a heavy node as its kernels read them: what they read in place is not copied before. */
function viewsOf(n: GraphNode, readsInPlace: Abilities["readsInPlace"]): View[] {
  return n.inputs.map((x, i) => {
    const view = viewOf(x);
    return roundedView(readsInPlace(n.op, i, x.shape, view.strides) ? view : plainView(x));
  });
}

/** Chooses the roots of `graph`, in the order in which they run. */
export function fuse(
  graph: Graph,
  abilities: Abilities,
): Root[] {
  const { maxBindings, furtherBindings, readsInPlace, frugal, fusion } = abilities;
  const limit = Math.min(maxBindings, 16) - 2;
  const roots: Root[] = [];
  const uses = new Map<GraphNode, Set<Root>>();
  const demanded = new Set<GraphNode>();
  const makeRoot = (kind: Root["kind"], node: GraphNode, part = 0, views: View[] = []): Root => {
    const root: Root = {
      kind,
      node,
      part,
      leaves: new Set(),
      views,
      inlined: 0,
      contexts: new Map(),
      epilogue: undefined,
      companion: undefined,
    };
    roots.push(root);
    return root;
  };
  const use = (n: GraphNode, root: Root, by: GraphNode) => {
    root.leaves.add(n);
    const users = uses.get(n);
    if (users) users.add(root);
    else uses.set(n, new Set([root]));
    const context = root.contexts.get(n) ?? { same: 0, moved: 0 };
    const count = contextsOf(by, root);
    if (by !== root.node && splitsIndex(by)) context.moved += count;
    else context.same = Math.max(context.same, count);
    root.contexts.set(n, context);
  };
  const demand = (n: GraphNode) => demanded.add(strip(n));
  const isSmallJoin = (n: GraphNode) =>
    n.op === "cat" && fusion && n.size <= SMALL_JOIN && n.inputs.length <= Math.min(limit, 8);
  const fits = (n: GraphNode, root: Root) => {
    const added = n.inputs.filter((x) => !root.leaves.has(x));
    const count = root.leaves.size - 1 + added.length;
    const further = furtherBindings([...root.leaves, ...added, root.node]) - furtherBindings([n]);
    const once = contextsOf(n, root) <= 1 || isRecomputable(n);
    return once && count <= limit && count + further <= maxBindings - 2 &&
      root.inlined < MAX_INLINED && !wasteful(n, root);
  };
  const visitFused = (n: GraphNode) => {
    const users = uses.get(n) ?? new Set();
    const inline = !demanded.has(n) && (fusion || isFree(n)) &&
      (users.size <= 1 || isRecomputable(n)) &&
      [...users].every((root) => MOVEMENT.has(n.op) || fits(n, root));
    if (!inline) {
      const root = makeRoot("map", n);
      for (const x of n.inputs) use(x, root, n);
      return;
    }
    for (const root of users) {
      root.leaves.delete(n);
      root.inlined++;
      for (const x of n.inputs) use(x, root, n);
    }
  };
  const visitHeavy = (n: GraphNode) => {
    if (n.op === "output") {
      demanded.add(n.inputs[0]);
    } else if (n.op === "cat") {
      n.inputs.forEach((x, i) => use(x, makeRoot("part", n, i), n));
    } else if (REDUCTIONS.has(n.op)) {
      use(n.inputs[0], makeRoot("reduce", n), n);
    } else {
      const views = fusion ? viewsOf(n, readsInPlace) : n.inputs.map(plainView);
      makeRoot("heavy", n, 0, views);
      for (const { base } of views) demand(base);
    }
  };
  graph.targets.forEach(demand);
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const n = graph.nodes[i];
    if (n.op === "leaf" || !(demanded.has(n) || uses.has(n))) continue;
    if (isFused(n) || isSmallJoin(n)) visitFused(n);
    else visitHeavy(n);
  }
  if (fusion) attachEpilogues(graph, roots, uses, demanded, abilities);
  if (frugal) detachRare(roots);
  if (fusion) pairSums(roots, abilities);
  return inRunOrder(roots);
}

/** Heavy nodes that `root` computes from element by element, in the same flat order. */
function aligned(root: Root): Set<GraphNode> {
  const found = new Set<GraphNode>();
  const moved = new Set<GraphNode>();
  const seen = new Set<string>();
  const walk = (n: GraphNode, same: boolean) => {
    const key = `${n.index}${same}`;
    if (seen.has(key)) return;
    seen.add(key);
    if (root.leaves.has(n)) {
      (same ? found : moved).add(n);
      return;
    }
    const keeps = COMPUTE.has(n.op) || n.op === "reshape" || n.op === "detach";
    for (const x of n.inputs) walk(x, same && keeps);
  };
  for (const x of root.node.inputs) {
    walk(x, COMPUTE.has(root.node.op) || root.node.op === "reshape");
  }
  for (const n of moved) found.delete(n);
  return found;
}

function attachEpilogues(
  graph: Graph,
  roots: Root[],
  uses: Map<GraphNode, Set<Root>>,
  demanded: Set<GraphNode>,
  { maxBindings, furtherBindings, takesEpilogue }: Abilities,
): void {
  const owner = new Map<GraphNode, Root>();
  for (const root of roots) {
    if (root.kind === "heavy" || root.kind === "reduce") owner.set(root.node, root);
  }
  const bound = (host: Root, root: Root) =>
    host.leaves.size + host.node.inputs.length + root.leaves.size;
  const further = (host: Root, root: Root) => {
    const read = [...host.leaves, ...host.views.map(({ base }) => base), ...root.leaves];
    return furtherBindings([...read, root.node]) - furtherBindings([host.node]);
  };
  const firstExtraUse = new Map<GraphNode, number>();
  for (const n of graph.nodes) {
    for (const x of n.inputs) {
      if (x.op !== "output") continue;
      const main = x.inputs[0];
      firstExtraUse.set(main, Math.min(firstExtraUse.get(main) ?? Infinity, n.index));
    }
  }
  for (const root of roots) {
    if (root.kind !== "map") continue;
    const candidates = [...aligned(root)].filter((h) => {
      const host = owner.get(h);
      return host && takesEpilogue(h.op) && uses.get(h)!.size === 1 && !host.epilogue &&
        h.size === root.node.size && isFloat(h.dtype) && isFloat(root.node.dtype) &&
        (!demanded.has(h) || onlyExtrasDemand(graph, roots, h)) &&
        (firstExtraUse.get(h) ?? Infinity) > root.node.index &&
        bound(host, root) <= 8 &&
        bound(host, root) + further(host, root) <= Math.max(8, maxBindings - 2);
    });
    if (candidates.length === 0) continue;
    const chosen = candidates.reduce((a, b) => a.index > b.index ? a : b);
    owner.get(chosen)!.epilogue = root;
  }
}

/** Takes epilogues away from hand-written kernels where those would be compiled for little use. */
function detachRare(roots: readonly Root[]): void {
  const heavy = roots.filter(({ kind }) => kind === "heavy");
  const kept = worthwhile(
    heavy.flatMap((host) => host.epilogue ? [{ host, root: host.epilogue }] : []),
  );
  for (const host of heavy) {
    if (host.epilogue && !kept.has(host.epilogue)) host.epilogue = undefined;
  }
}

/** True where a node's buffer is wanted only as the anchor of its extra outputs. */
function onlyExtrasDemand(graph: Graph, roots: readonly Root[], h: GraphNode): boolean {
  if (graph.targets.some((t) => strip(t) === h)) return false;
  return roots.every(({ views }) => views.every(({ base }) => strip(base) !== h));
}

/** Drops roots that others compute; the rest in the order in which their results are complete. */
function inRunOrder(roots: Root[]): Root[] {
  const absorbed = new Set(roots.flatMap((r) => [r.epilogue, r.companion]));
  return roots.filter((r) => !absorbed.has(r))
    .sort((a, b) => positionOf(a) - positionOf(b) || a.part - b.part);
}

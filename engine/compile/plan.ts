/** From a canonical graph to a plan: kernels in order, and where each of their buffers lies. */
import type { HeavyAttributes } from "../attributes.ts";
import type { AdapterProfile } from "../device.ts";
import { type DType, DTYPES } from "../dtype.ts";
import { type ArenaSize, MemoryError, type PlanMemory, sizeText } from "../memory.ts";
import type { HeavyRule, OutputSpec } from "../rule.ts";
import { show } from "../shape.ts";
import type { Arg, Lowering } from "../../shaders/kernel.ts";
import { layOut, pieceSizes, type Span } from "./arena.ts";
import { bytesOf, furtherWindows, inWindows, type PlanStep, type Ref } from "./bindings.ts";
import { fuse, type Root } from "./fuse.ts";
import { type Graph, type GraphNode, strip } from "./graph.ts";
import { epilogueOf, mapKernel } from "./map_kernel.ts";
import { reduceLowering } from "./reduce_kernel.ts";
import { storedAs } from "./stored_types.ts";

/** Rules of the primitives that have hand-written kernels. */
export type HeavyRules = {
  readonly [P in Exclude<keyof HeavyAttributes, "sum" | "amax" | "argmax" | "cat" | "output">]:
    HeavyRule<P>;
};

/** A value's stay in the arena. */
export interface Tenancy extends Span {
  /** Op and shape of the value. */
  readonly name: string;
  /** Byte offset in the arena. */
  readonly offset: number;
}

/** A value of the arena that goes to a target. */
export interface Copy {
  readonly from: Ref;
  readonly target: number;
  /** Bytes of the value: beyond them another one may begin in the target's buffer. */
  readonly bytes: number;
}

/** A compiled graph: everything that a run needs besides the values of its leaves. */
export interface Plan extends ArenaSize {
  readonly steps: readonly PlanStep[];
  /** Where each read target's values lie after the run. */
  readonly results: readonly Ref[];
  /** Write targets whose values must be copied, since another buffer holds them. */
  readonly copies: readonly Copy[];
  /** Host leaves and their windows in the upload buffer. */
  readonly uploads: readonly { readonly leaf: number; readonly offset: number }[];
  readonly uploadBytes: number;
  /** Bytes that a run needs. */
  readonly memory: PlanMemory;
  /** What lies in the arena, and when. */
  readonly tenancies: readonly Tenancy[];
}

/** A binding of a dispatch, and the type of its elements. */
interface Bound {
  readonly ref: Ref;
  readonly dtype: DType | "rounded";
}

/** One root with its dispatches, before memory is assigned. */
interface Work {
  readonly root: Root;
  /** The node whose values the root's first output holds. */
  readonly owner: GraphNode;
  readonly lowering: Lowering;
  /** Nodes behind `in0`, `in1`, … */
  readonly inputs: readonly GraphNode[];
  readonly epilogueLeaves: readonly GraphNode[];
  readonly outputs: readonly OutputSpec[];
  /** The sum that the kernels compute on the way. */
  readonly companion?:
    | { readonly owner: GraphNode; readonly leaves: readonly GraphNode[] }
    | undefined;
}

function lowerRoot(root: Root, rules: HeavyRules, profile: AdapterProfile): Work {
  const owner = root.epilogue?.node ?? root.node;
  const specs: OutputSpec[] = [{ shape: owner.shape, dtype: owner.dtype }];
  if (root.kind === "map" || root.kind === "part") {
    const { kernel, leaves } = mapKernel(root, profile);
    const args: Arg[] = [...leaves.map((_, i) => `in${i}` as const), "out0"];
    const lowering: Lowering = { steps: [{ kernel, args }] };
    return { root, owner, lowering, inputs: leaves, epilogueLeaves: [], outputs: specs };
  }
  const pending = epilogueOf(root.epilogue, root.node);
  const beside = root.companion;
  const besides = beside && epilogueOf(beside.epilogue, beside.node, pending);
  const finish = (lowering: Lowering): Lowering => ({
    ...lowering,
    steps: lowering.steps.map((s) => ({
      ...s,
      kernel: pending.finish(besides?.finish(s.kernel) ?? s.kernel),
    })),
  });
  const shared = {
    root,
    owner,
    epilogueLeaves: pending.leaves,
    companion: beside &&
      { owner: beside.epilogue?.node ?? beside.node, leaves: besides?.leaves ?? [] },
  };
  if (root.kind === "reduce") {
    const { lowering, leaves } = reduceLowering(root, profile, pending.epilogue, besides);
    return { ...shared, lowering: finish(lowering), inputs: leaves, outputs: specs };
  }
  const rule = rules[root.node.op as keyof HeavyRules] as unknown as HeavyRule<
    keyof HeavyAttributes
  >;
  const tensor = root.node.tensor as Parameters<typeof rule.lower>[0];
  return {
    ...shared,
    lowering: finish(rule.lower(tensor, profile, pending.epilogue, root.views, besides)),
    inputs: root.views.map(({ base }) => base),
    outputs: [...specs, ...(rule.extraOutputs?.(tensor) ?? [])],
  };
}

/** All nodes whose buffers a root's kernels read. */
const readBy = ({ inputs, epilogueLeaves, companion }: Work) => [
  ...inputs,
  ...epilogueLeaves,
  ...companion?.leaves ?? [],
];

/** Key of a buffer: a node, and which of its outputs. */
const keyOf = (n: GraphNode): string => {
  const s = strip(n);
  if (s.op !== "output") return `${s.index}:0`;
  return `${s.inputs[0].index}:${(s.tensor.attributes as { index: number }).index}`;
};

/** A value in the arena. Its place is chosen once all of them are known. */
interface Stay {
  readonly name: string;
  readonly first: number;
  /** Results stay to the end of the plan. */
  last: number;
  readonly ref: { readonly kind: "arena"; offset: number; readonly bytes: number };
}

/** Bytes of scratch memory at most: kernels count its elements, as those of tensors, in 32 bits. */
const MAX_SCRATCH = 4 * 2 ** 30;

class Memory {
  private readonly refs = new Map<string, Ref>();
  private readonly stays: Stay[] = [];
  /** Those that may still be read, by the key of their buffer. */
  private readonly staying = new Map<string, Stay>();
  readonly uploads: { leaf: number; offset: number }[] = [];
  uploadBytes = 0;
  /** Bytes of leaves that are in GPU memory. */
  leafBytes = 0;

  constructor(
    private readonly graph: Graph,
    private readonly lastUse: ReadonlyMap<string, number>,
    private readonly alignment: number,
    private readonly maxBufferBytes: number,
    /** Dispatches that are planned so far. */
    private readonly now: () => number,
  ) {}

  private aligned(bytes: number): number {
    return Math.ceil(bytes / this.alignment) * this.alignment;
  }

  /** Chooses the places in the arena, once the plan is complete. */
  settle(): ArenaSize & Pick<Plan, "tenancies"> {
    const end = this.now() - 1;
    const spans = this.stays.map(({ name, first, last, ref }) => ({
      name,
      bytes: this.aligned(ref.bytes),
      first,
      last: Math.min(last, end),
    }));
    // A value beyond the adapter's largest buffer has a piece that cannot be made: that is refused then.
    const fitting = Math.floor(this.maxBufferBytes / this.alignment) * this.alignment;
    const pieceBytes = spans.reduce((most, span) => Math.max(most, span.bytes), fitting);
    const { offsets, bytes: arenaBytes } = layOut(spans, pieceBytes);
    this.stays.forEach(({ ref }, i) => ref.offset = offsets[i]);
    const tenancies = spans.map((span, i) => ({ ...span, offset: offsets[i] }));
    const largest = Math.max(this.alignment, Math.min(pieceBytes, arenaBytes));
    const pieces = pieceSizes(arenaBytes, largest);
    return { arenaBytes, pieceBytes: largest, pieces, tenancies };
  }

  private enter(bytes: number, name: string): Stay {
    const ref: Stay["ref"] = { kind: "arena", offset: 0, bytes };
    const stay = { name, first: this.now(), last: Infinity, ref };
    this.stays.push(stay);
    return stay;
  }

  /** The buffer of a node that exists already. */
  refOf(n: GraphNode): Ref {
    const s = strip(n);
    const key = keyOf(s);
    const found = this.refs.get(key);
    if (found) return found;
    if (s.op !== "leaf") {
      throw new Error(`The plan reads ${s.op} ${show(s.shape)} before it is computed.`);
    }
    const ref = this.placeLeaf(s);
    this.refs.set(key, ref);
    return ref;
  }

  private placeLeaf(n: GraphNode): Ref {
    const bytes = bytesOf(n);
    const tensor = this.graph.leaves[n.leaf];
    if (tensor.storage || tensor.resident) {
      this.leafBytes += bytes;
      return { kind: "leaf", leaf: n.leaf, offset: 0, bytes };
    }
    const offset = this.uploadBytes;
    this.uploads.push({ leaf: n.leaf, offset });
    this.uploadBytes += this.aligned(bytes);
    return { kind: "upload", offset, bytes };
  }

  has(key: string): boolean {
    return this.refs.has(key);
  }

  /** A new buffer of the arena. */
  allocate(key: string, spec: OutputSpec, op: string): Ref {
    const bytes = bytesOf(spec);
    const stay = this.enter(bytes, `${op} ${show(spec.shape)}`);
    this.staying.set(key, stay);
    this.refs.set(key, stay.ref);
    return stay.ref;
  }

  /** The buffer that a target's values are written to. */
  direct(key: string, spec: OutputSpec, target: number): Ref {
    const bytes = bytesOf(spec);
    const ref: Ref = { kind: "target", target, offset: 0, bytes };
    this.refs.set(key, ref);
    return ref;
  }

  /** Memory that only the dispatches of one work use. */
  scratch({ op, shape }: GraphNode, wanted: number): Stay {
    if (wanted > MAX_SCRATCH) {
      throw new MemoryError(
        `${op} ${show(shape)} needs ${sizeText(wanted)} of GPU memory for values on the way; ` +
          `kernels count at most ${sizeText(MAX_SCRATCH)}: smaller inputs, or parts of them one ` +
          "after the other, need less.",
        wanted,
        MAX_SCRATCH,
      );
    }
    return this.enter(Math.ceil(wanted / 16) * 16, `scratch of ${op}`);
  }

  /** Ends a stay with the last dispatch so far. */
  release(stay: Stay): void {
    stay.last = this.now() - 1;
  }

  /** Frees buffers that nobody reads after step `at`. */
  releaseAfter(at: number, keys: Iterable<string>): void {
    for (const key of keys) {
      const stay = this.staying.get(key);
      if (!stay || (this.lastUse.get(key) ?? at) > at) continue;
      this.release(stay);
      this.staying.delete(key);
    }
  }
}

/** What a plan is made for. */
export interface PlanRequest {
  readonly graph: Graph;
  /** The first `reads` targets of the graph are read back; the others are written to storages. */
  readonly reads: number;
  readonly profile: AdapterProfile;
  readonly alignment: number;
  readonly rules: HeavyRules;
  /** Bytes of the adapter's largest buffer; without limit where left out. */
  readonly maxBufferBytes?: number;
  /** Whether elementwise work and movement become parts of other kernels; true where left out. */
  readonly fusion?: boolean;
  /** Of the targets that are written, those whose memory must keep what it holds to the end. */
  readonly late?: readonly number[];
}

function lastUses(work: readonly Work[], graph: Graph): Map<string, number> {
  const last = new Map<string, number>();
  work.forEach((w, i) => {
    for (const n of readBy(w)) last.set(keyOf(n), i);
  });
  for (const t of graph.targets) last.set(keyOf(t), Infinity);
  return last;
}

/** Adds what is written and read back. */
function planMemory(
  own: Pick<PlanMemory, "arena" | "uploads" | "leaves">,
  written: readonly GraphNode[],
  results: readonly Ref[],
): PlanMemory {
  const targets = written.reduce((sum, n) => sum + bytesOf(n), 0);
  const readback = results.reduce((sum, { bytes }) => sum + bytes, 0);
  const { arena, uploads, leaves } = own;
  return { ...own, targets, readback, peak: arena + uploads + leaves + targets + readback };
}

/** Compiles a graph. @throws {MemoryError} where a kernel works on more than the adapter can bind. */
export function makePlan(request: PlanRequest): Plan {
  const { graph, reads, profile, alignment, rules, late = [] } = request;
  const { maxBufferBytes = Infinity, fusion = true } = request;
  const limits = { ...profile, alignment };
  const ruleOf = (op: string) => rules[op as keyof HeavyRules];
  const roots = fuse(graph, {
    maxBindings: profile.maxBindings,
    furtherBindings: (nodes) => furtherWindows(nodes, limits),
    takesEpilogue: (op) => op === "sum" || op === "amax" || ruleOf(op)?.epilogue === true,
    readsInPlace: (op, ...input) => ruleOf(op)?.readsInPlace?.(...input) ?? false,
    sumsLeft: (op) => profile.class === "cpu" && ruleOf(op)?.sumsLeft === true,
    frugal: profile.class === "cpu",
    fusion,
  });
  const work = roots.map((root) => lowerRoot(root, rules, profile));
  const lastUse = lastUses(work, graph);
  const steps: PlanStep[] = [];
  const memory = new Memory(graph, lastUse, alignment, maxBufferBytes, () => steps.length);
  const targetOf = new Map<string, number>();
  const direct = new Set<number>();
  const written = graph.targets.slice(reads).map(keyOf);
  written.forEach((key, i) => {
    // A value with several targets is copied to each from the arena: these may share a buffer, within
    // which nothing can be copied.
    const only = written.indexOf(key) === written.lastIndexOf(key);
    if (only && !late.includes(i)) targetOf.set(key, i);
  });
  work.forEach((w, at) => {
    const place = (key: string, spec: OutputSpec): Ref => {
      const target = targetOf.get(key);
      if (target === undefined) return memory.allocate(key, spec, w.root.node.op);
      direct.add(target);
      return memory.direct(key, spec, target);
    };
    const outputs = w.outputs.map((spec, index): Ref => {
      const key = index === 0 ? `${w.owner.index}:0` : `${w.root.node.index}:${index}`;
      return memory.has(key) ? memory.refOf(w.owner) : place(key, spec);
    });
    const beside = w.companion && place(keyOf(w.companion.owner), w.companion.owner);
    const scratch = (w.lowering.scratch ?? []).map((bytes) => memory.scratch(w.root.node, bytes));
    const bound = (n: GraphNode): Bound => ({ ref: memory.refOf(n), dtype: n.dtype });
    const resolve = (arg: Arg): Bound[] => {
      if (arg === "epilogue") return w.epilogueLeaves.map(bound);
      if (arg === "companionEpilogue") return w.companion!.leaves.map(bound);
      if (arg === "companion") return [{ ref: beside!, dtype: w.companion!.owner.dtype }];
      const index = Number(arg.slice(3));
      if (arg.startsWith("out")) return [{ ref: outputs[index], dtype: w.outputs[index].dtype }];
      if (arg.startsWith("tmp")) return [{ ref: scratch[index].ref, dtype: "f32" }];
      const input = Number(arg.slice(2));
      const { ref, dtype } = bound(w.inputs[input]);
      return [{ ref, dtype: w.root.views[input]?.rounded ? "rounded" : dtype }];
    };
    for (const { kernel, args } of w.lowering.steps) {
      const bindings = args.flatMap(resolve);
      steps.push({
        kernel: storedAs(kernel, bindings.map(({ dtype }) => dtype)),
        bindings: bindings.map(({ ref }) => ref),
      });
    }
    for (const stay of scratch) memory.release(stay);
    const keys = new Set(readBy(w).map(keyOf));
    if (w.companion) keys.add(keyOf(w.companion.owner));
    w.outputs.forEach((_, index) =>
      keys.add(`${(index === 0 ? w.owner : w.root.node).index}:${index}`)
    );
    memory.releaseAfter(at, keys);
  });
  const copies = graph.targets.slice(reads).flatMap((t, target) =>
    direct.has(target)
      ? []
      // Copies go by whole words.
      : [{
        from: memory.refOf(t),
        target,
        bytes: Math.ceil(t.size * DTYPES[t.dtype].bytes / 4) * 4,
      }]
  );
  const results = graph.targets.slice(0, reads).map((t) => memory.refOf(t));
  const { uploads, uploadBytes, leafBytes } = memory;
  const settled = memory.settle();
  const own = { arena: settled.arenaBytes, uploads: uploadBytes, leaves: leafBytes };
  return {
    steps: steps.map((step) => inWindows(step, limits)),
    ...{ results, copies, uploads, uploadBytes, ...settled },
    memory: planMemory(own, graph.targets.slice(reads), results),
  };
}

/** What plans consist of: their kernels with shapes, counts and costs, found without running them. */
import type { AdapterProfile, Kernel, Tensor } from "../engine/mod.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import type { Ref } from "../engine/compile/bindings.ts";
import { type HeavyRules, makePlan, type Plan } from "../engine/compile/plan.ts";
import { heavyRules } from "../engine/primitives.ts";
import type { HeavyRule } from "../engine/rule.ts";
import type { Lowering } from "../shaders/kernel.ts";
import { describe, flopsOf } from "./costs.ts";

/** Tensors that are computed together. */
export interface Workload {
  readonly name: string;
  /** Results of the forward pass. */
  readonly forward: readonly Tensor[];
  /** Gradients and everything else that a training step computes besides; may be empty. */
  readonly backward: readonly Tensor[];
}

/** Memory that a kernel reads or writes. */
export interface Operand {
  readonly bytes: number;
  /** The leaf whose values it needs, where these are known to the host. */
  readonly leaf?: Tensor;
}

/** One op of a plan as it runs: its dispatches, and which operand each binding is. */
export interface Work {
  readonly name: string;
  readonly shape: string;
  readonly pass: "forward" | "backward";
  readonly schedule: string;
  readonly flops: number;
  /** Bytes of all operands but scratch memory, each once. */
  readonly bytes: number;
  readonly operands: readonly Operand[];
  readonly steps: readonly { readonly kernel: Kernel; readonly bindings: readonly number[] }[];
}

/** A plan with its costs. */
export interface Inventory {
  readonly plan: Plan;
  readonly works: readonly Work[];
  /** Operations of all works. */
  readonly flops: number;
  /** Distinct compiled kernels. */
  readonly kernels: number;
  /** Leaves of the graph. */
  readonly leaves: readonly Tensor[];
}

interface Lowered {
  readonly node: Tensor;
  readonly lowering: Lowering;
}

/** Rules that note what they lower. */
function recording(into: Lowered[]): HeavyRules {
  const wrap = (rule: HeavyRule<"matmul">): HeavyRule<"matmul"> => ({
    ...rule,
    lower: (node, ...context) => {
      const lowering = rule.lower(node, ...context);
      into.push({ node, lowering });
      return lowering;
    },
  });
  const entries = Object.entries(heavyRules).map(([op, rule]) => [
    op,
    wrap(rule as unknown as HeavyRule<"matmul">),
  ]);
  return Object.fromEntries(entries) as unknown as HeavyRules;
}

/** Steps of a plan that belong together. */
interface Group {
  readonly lowered: Lowered | undefined;
  readonly steps: Plan["steps"];
}

const GENERATED = /^(map|part|reduce) /;

/**
 * Splits a plan into ops. Kernels generated for elementwise work and reductions are told by their
 * labels; the others come in the order in which the rules were asked for them.
 */
function grouped({ steps }: Plan, lowered: readonly Lowered[]): Group[] {
  const groups: Group[] = [];
  let next = 0;
  for (let at = 0; at < steps.length;) {
    const { label } = steps[at].kernel;
    const own = GENERATED.test(label) ? undefined : lowered[next++];
    if (own && own.lowering.steps[0].kernel.label !== label) {
      throw new Error(`The plan runs "${label}" where a rule gave another kernel.`);
    }
    const joins = label.startsWith("reduce ") &&
      steps[at + 1]?.kernel.label.startsWith(`${label} `);
    const count = own?.lowering.steps.length ?? (joins ? 2 : 1);
    groups.push({ lowered: own, steps: steps.slice(at, at + count) });
    at += count;
  }
  return groups;
}

/** All tensors that `targets` are computed from. */
function reachable(targets: readonly Tensor[]): Set<Tensor> {
  const seen = new Set<Tensor>();
  const pending = [...targets];
  for (let t = pending.pop(); t; t = pending.pop()) {
    if (seen.has(t)) continue;
    seen.add(t);
    pending.push(...t.inputs);
  }
  return seen;
}

/** What the labels of an op's kernels tell beside its shape: tiles, passes, helpers. */
function scheduleOf(labels: readonly string[], { class: kind, lanes }: AdapterProfile): string {
  const parts = labels.map((label) =>
    /\b[cg]pu (.*)$/.exec(label)?.[1] ?? /^[^\d[]*/.exec(label)![0].trim()
  );
  return `${kind} ${lanes} lanes: ${[...new Set(parts)].join(", ")}`;
}

function keyOf(ref: Ref): string {
  const place = ref.kind === "leaf" ? ref.leaf : ref.kind === "target" ? ref.target : "";
  return `${ref.kind} ${place} ${ref.offset}`;
}

/** Bindings that hold scratch memory, by operand key. */
function scratchOf({ lowered, steps }: Group): Set<string> {
  const keys = steps.flatMap(({ bindings }, s) => {
    const args = lowered?.lowering.steps[s].args ?? [];
    return args.flatMap((arg, i) => arg.startsWith("tmp") ? [keyOf(bindings[i])] : []);
  });
  return new Set(keys);
}

function workOf(
  group: Group,
  pass: Work["pass"],
  leafOf: (ref: Ref) => Tensor | undefined,
  profile: AdapterProfile,
): Work {
  const { lowered, steps } = group;
  const places = new Map<string, number>();
  const operands: Operand[] = [];
  const scratch = scratchOf(group);
  let bytes = 0;
  const numbered = steps.map(({ kernel, bindings }) => ({
    kernel,
    bindings: bindings.map((ref) => {
      const key = keyOf(ref);
      const found = places.get(key);
      if (found !== undefined) return found;
      const leaf = leafOf(ref);
      operands.push({ bytes: ref.bytes, ...leaf?.host && { leaf } });
      if (!scratch.has(key)) bytes += ref.bytes;
      places.set(key, operands.length - 1);
      return operands.length - 1;
    }),
  }));
  const labels = steps.map(({ kernel }) => kernel.label);
  const [kind, ...rest] = labels[0].split(" ");
  return {
    name: lowered?.node.op ?? kind,
    shape: lowered ? describe(lowered.node) : rest.join(" "),
    pass,
    schedule: scheduleOf(labels, profile),
    flops: lowered ? flopsOf(lowered.node) : 0,
    bytes,
    operands,
    steps: numbered,
  };
}

/** Plans a workload and takes stock of it. */
export function takeInventory(
  { forward, backward }: Workload,
  profile: AdapterProfile,
  alignment: number,
): Inventory {
  const targets = [...forward, ...backward];
  const graph = canonicalise(targets);
  const lowered: Lowered[] = [];
  const rules = recording(lowered);
  const plan = makePlan({ graph, reads: 0, profile, alignment, rules });
  const ahead = reachable(forward);
  const uploaded = new Map(plan.uploads.map(({ leaf, offset }) => [offset, graph.leaves[leaf]]));
  const leafOf = (ref: Ref) => {
    if (ref.kind === "leaf") return graph.leaves[ref.leaf];
    return ref.kind === "upload" ? uploaded.get(ref.offset) : undefined;
  };
  // Generated kernels count to the pass of the hand-written ones around them: a plan keeps the order.
  let pass: Work["pass"] = "forward";
  const works = grouped(plan, lowered).map((group) => {
    if (group.lowered) pass = ahead.has(group.lowered.node) ? "forward" : "backward";
    return workOf(group, pass, leafOf, profile);
  });
  return {
    plan,
    works,
    flops: works.reduce((sum, { flops }) => sum + flops, 0),
    kernels: new Set(plan.steps.map(({ kernel }) => kernel.source)).size,
    leaves: graph.leaves,
  };
}

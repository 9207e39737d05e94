/** The graph of one computation: nodes in order, equal subexpressions merged, and its fingerprint. */
import type { Primitive } from "../attributes.ts";
import type { DType } from "../dtype.ts";
import { type Shape, show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { isLeaf, joinMovement } from "./join_movement.ts";

/** A node of the canonical graph. Inputs have smaller indices. */
export interface GraphNode {
  readonly index: number;
  /** `leaf` for every tensor that already has values. */
  readonly op: Primitive;
  /** The tensor that this node stands for: read for attributes, shapes and types only. */
  readonly tensor: Tensor;
  readonly inputs: readonly GraphNode[];
  readonly shape: Shape;
  readonly dtype: DType;
  readonly size: number;
  /** Position among the graph's leaves, or -1. */
  readonly leaf: number;
}

/** The node whose buffer holds the same elements in the same order. */
export function strip(n: GraphNode): GraphNode {
  while (n.op === "reshape" || n.op === "detach") n = n.inputs[0];
  return n;
}

/** A canonical graph. Two runs with the same fingerprint can share a plan. */
export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly targets: readonly GraphNode[];
  /** The tensors behind the leaves, in order. */
  readonly leaves: readonly Tensor[];
  readonly fingerprint: string;
}

/** Where a leaf's values come from: GPU memory or the host; of other tensors nothing. */
export const sourceOf = (t: Tensor): "g" | "h" | "" =>
  t.storage || t.resident ? "g" : t.op === "leaf" ? "h" : "";

/** Attributes as text. JSON alone would write NaN and both infinities alike. */
function textOf(attributes: Tensor["attributes"]): string {
  return JSON.stringify(
    attributes,
    (_, value) => typeof value === "number" && !Number.isFinite(value) ? `${value}` : value,
  );
}

/** All tensors that the targets need, inputs first. */
function inOrder(targets: readonly Tensor[]): Tensor[] {
  const seen = new Set<Tensor>();
  const pending = [...targets];
  while (pending.length > 0) {
    const t = pending.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    if (!isLeaf(t)) pending.push(...t.inputs);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/** Those of `order` that the targets still need where some stand for others. */
function needed(
  order: readonly Tensor[],
  targets: readonly Tensor[],
  as: (t: Tensor) => Tensor,
): Set<Tensor> {
  const found = new Set(targets.map(as));
  for (let i = order.length - 1; i >= 0; i--) {
    const t = as(order[i]);
    if (found.has(t) && !isLeaf(t)) { for (const x of t.inputs) found.add(as(x)); }
  }
  return found;
}

/**
 * Builds the canonical graph of `targets`. Leaves are numbered by first use, not by age: a table that
 * is made once and kept must not change the graph of later runs.
 *
 * @throws {RangeError} where a target is empty.
 */
export function canonicalise(targets: readonly Tensor[]): Graph {
  const empty = targets.find((t) => t.size === 0);
  if (empty) {
    throw new RangeError(`A tensor of shape ${show(empty.shape)} has no values to compute.`);
  }
  const nodes: GraphNode[] = [];
  const leaves: Tensor[] = [];
  const byKey = new Map<string, GraphNode>();
  const byTensor = new Map<Tensor, GraphNode>();
  const enter = (t: Tensor, key: string, inputs: readonly GraphNode[], leaf: number) => {
    let found = byKey.get(key);
    if (!found) {
      const { shape, dtype, size } = t;
      const op = leaf < 0 ? t.op : "leaf";
      found = { index: nodes.length, op, tensor: t, inputs, shape, dtype, size, leaf };
      nodes.push(found);
      byKey.set(key, found);
    }
    byTensor.set(t, found);
    return found;
  };
  const enterLeaf = (t: Tensor) => {
    leaves.push(t);
    const leaf = leaves.length - 1;
    return enter(t, `leaf${leaf},${sourceOf(t)},${t.shape},${t.dtype}`, [], leaf);
  };
  const order = inOrder(targets);
  const joined = joinMovement(order);
  const as = (t: Tensor) => joined.get(t) ?? t;
  const used = needed(order, targets, as);
  const nodeOf = (x: Tensor) => {
    const t = as(x);
    return byTensor.get(t) ?? enterLeaf(t);
  };
  for (const t of order.map(as)) {
    if (isLeaf(t) || !used.has(t) || byTensor.has(t)) continue;
    const inputs = t.inputs.map(nodeOf);
    const from = inputs.map((n) => n.index);
    const kind = `${t.op}${textOf(t.attributes)}`;
    enter(t, `${kind}${from},${t.shape},${t.dtype},${t.replay}`, inputs, -1);
  }
  const ends = targets.map(nodeOf);
  const fingerprint = [...byKey.keys()].join("\n") + `\n>${ends.map((n) => n.index)}`;
  return { nodes, targets: ends, leaves, fingerprint };
}

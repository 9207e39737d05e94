/** The graph of one computation: nodes in order, equal subexpressions merged, and its fingerprint. */
import type { Primitive } from "../attributes.ts";
import type { DType } from "../dtype.ts";
import type { Shape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";

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

/** A canonical graph. Two runs with the same fingerprint can share a plan. */
export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly targets: readonly GraphNode[];
  /** The tensors behind the leaves, in order. */
  readonly leaves: readonly Tensor[];
  readonly fingerprint: string;
}

/** True where the tensor has values: a leaf, or a result that was kept. */
const isLeaf = (t: Tensor) => t.op === "leaf" || t.storage !== undefined;

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

/** Builds the canonical graph of `targets`. */
export function canonicalise(targets: readonly Tensor[]): Graph {
  const nodes: GraphNode[] = [];
  const leaves: Tensor[] = [];
  const byKey = new Map<string, GraphNode>();
  const byTensor = new Map<Tensor, GraphNode>();
  for (const t of inOrder(targets)) {
    const leaf = isLeaf(t);
    const inputs = leaf ? [] : t.inputs.map((x) => byTensor.get(x)!);
    const key = leaf
      ? `leaf${leaves.length},${t.storage || t.resident ? "g" : "h"},${t.shape},${t.dtype}`
      : `${t.op}${textOf(t.attributes)}${inputs.map((n) => n.index)},${t.shape},${t.dtype}`;
    let found = byKey.get(key);
    if (!found) {
      found = {
        index: nodes.length,
        op: leaf ? "leaf" : t.op,
        tensor: t,
        inputs,
        shape: t.shape,
        dtype: t.dtype,
        size: t.size,
        leaf: leaf ? leaves.length : -1,
      };
      nodes.push(found);
      byKey.set(key, found);
      if (leaf) leaves.push(t);
    }
    byTensor.set(t, found);
  }
  const ends = targets.map((t) => byTensor.get(t)!);
  const fingerprint = [...byKey.keys()].join("\n") + `\n>${ends.map((n) => n.index)}`;
  return { nodes, targets: ends, leaves, fingerprint };
}

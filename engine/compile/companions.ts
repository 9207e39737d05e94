/** Pairs sums with kernels that read the same values anyway, so that one dispatch computes both. */
import type { Attributes } from "../attributes.ts";
import { isFloat } from "../dtype.ts";
import { numel, sameShape } from "../shape.ts";
import type { Abilities, Root } from "./fuse.ts";
import { type GraphNode, strip } from "./graph.ts";
import { isPlain } from "./views.ts";

/** Where a root stands in the order of dispatches: where its last result is complete. */
export const positionOf = ({ node, epilogue, companion }: Root): number =>
  Math.max((epilogue?.node ?? node).index, companion ? positionOf(companion) : 0);

/** The node whose values a root's first output holds. */
const ownerOf = ({ node, epilogue }: Root) => epilogue?.node ?? node;

/** Nodes whose values a root reads, its epilogue's included. */
function readsOf(root: Root): GraphNode[] {
  const own = [...root.leaves, ...root.views.map(({ base }) => base)];
  return [...own, ...root.epilogue?.leaves ?? []].map(strip).map((n) =>
    n.op === "output" ? n.inputs[0] : n
  );
}

/** Position of the first root that reads each node's values. */
function firstReads(roots: readonly Root[]): Map<GraphNode, number> {
  const first = new Map<GraphNode, number>();
  for (const root of roots) {
    const at = positionOf(root);
    for (const n of readsOf(root)) first.set(n, Math.min(first.get(n) ?? Infinity, at));
  }
  return first;
}

const isSum = ({ kind, node }: Root) =>
  kind === "reduce" && node.op === "sum" && isFloat(node.dtype);

const dimsOf = ({ node }: Root) => (node.tensor.attributes as Attributes["sum"]).dims;

/** What a root sums where that is a buffer's own rows: [terms, results], one row after another. */
function summedRows(root: Root): { readonly rows: GraphNode; readonly terms: number } | undefined {
  const input = root.node.inputs[0];
  const rows = strip(input);
  const dims = dimsOf(root);
  const kept = input.shape.findIndex((size, d) => size > 1 && !dims.includes(d));
  const apart = kept >= 0 && dims.some((d) => d > kept && input.shape[d] > 1);
  if (!root.leaves.has(rows) || apart) return undefined;
  return { rows, terms: numel(dims.map((d) => input.shape[d])) };
}

/** Whether the left factor of a product is stored as the rows that `sum` adds up. */
function multiplies(host: Root, sum: Root): boolean {
  const terms = summedRows(sum)?.terms ?? 0;
  return !host.views[0].rounded && isPlain(host.views[0], host.node.inputs[0].shape) &&
    sameShape(host.node.inputs[0].shape, [1, terms, sum.node.size]);
}

/** What sums must have in common to be computed in the same loops. */
const loopsOf = (sum: Root) => `${sum.node.inputs[0].shape} over ${dimsOf(sum)}`;

/** Bindings that a root adds to its kernel. */
const bindingsOf = (root: Root, { furtherBindings }: Abilities) =>
  root.leaves.size + root.views.length + (root.epilogue?.leaves.size ?? 0) + 1 +
  furtherBindings([...readsOf(root), ownerOf(root)]);

/**
 * Gives roots their companions: to products the sums of their left factor, and to sums those of what
 * they read besides.
 */
export function pairSums(roots: readonly Root[], abilities: Abilities): void {
  const { maxBindings, sumsLeft } = abilities;
  const absorbed = new Set(roots.flatMap(({ epilogue }) => epilogue ? [epilogue] : []));
  const running = roots.filter((root) => !absorbed.has(root));
  const first = firstReads(running);
  const sums = running.filter(isSum);
  const byLoops = Map.groupBy(sums, loopsOf);
  const products = running.filter(({ kind, node }) =>
    kind === "heavy" && sumsLeft(node.op) &&
    (node.tensor.attributes as Attributes["matmul"]).transA
  );
  const byLeft = Map.groupBy(products, ({ views }) => strip(views[0].base));
  const paired = new Set<Root>();
  const fits = (host: Root, sum: Root) => {
    const at = Math.max(positionOf(host), positionOf(sum));
    const bindings = bindingsOf(host, abilities) + bindingsOf(sum, abilities);
    return host !== sum && !paired.has(host) && bindings <= maxBindings &&
      [host, sum].every((root) => (first.get(ownerOf(root)) ?? Infinity) > at);
  };
  for (const sum of sums) {
    if (paired.has(sum)) continue;
    const rows = summedRows(sum)?.rows;
    const host = (rows && byLeft.get(rows))?.find((root) =>
      multiplies(root, sum) && fits(root, sum)
    ) ??
      byLoops.get(loopsOf(sum))!.find((root) =>
        [...sum.leaves].every((n) => root.leaves.has(n)) && fits(root, sum)
      );
    if (!host) continue;
    host.companion = sum;
    paired.add(host).add(sum);
  }
}

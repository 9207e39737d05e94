/** Which epilogues are worth a kernel of their own where compiling takes long. */
import type { Root } from "./fuse.ts";
import type { GraphNode } from "./graph.ts";

/** An elementwise root and the heavy one whose store may compute it. */
export interface Candidate {
  readonly host: Root;
  readonly root: Root;
}

/**
 * What an epilogue saves in one run, in nanoseconds on two cores of llvmpipe: a dispatch, which costs
 * 70 to 220 us there, and for each element a store and a load.
 */
const DISPATCH = 100_000;
const ELEMENT = 0.6;

/** A kernel takes about 200 ms to compile there; it is to have repaid them after two hundred runs. */
const WORTH_A_KERNEL = 1_000_000;

/**
 * The host's op and the expression of its epilogue, whatever their shapes: what has the same text is
 * likely to share a kernel.
 */
function textOf({ host, root }: Candidate): string {
  const names = new Map<GraphNode, string>([[host.node, "host"]]);
  const lines = [host.node.op + JSON.stringify(host.node.tensor.attributes)];
  const visit = (n: GraphNode): string => {
    let name = names.get(n);
    if (name) return name;
    const leaf = root.leaves.has(n);
    const inputs = leaf ? [] : n.inputs.map(visit);
    names.set(n, name = `${leaf ? "leaf" : "t"}${names.size}`);
    const attributes = leaf ? "" : JSON.stringify(n.tensor.attributes);
    lines.push(`${name}=${leaf ? "" : n.op}${attributes}(${inputs})`);
    return name;
  };
  visit(root.node);
  return lines.join(";");
}

/** Those candidates that, with all others of the same text, save more than compiling costs. */
export function worthwhile(candidates: readonly Candidate[]): Set<Root> {
  const groups = Map.groupBy(candidates, textOf);
  const saved = ({ root }: Candidate) => DISPATCH + ELEMENT * root.node.size;
  const worth = [...groups.values()].filter((group) =>
    group.reduce((sum, candidate) => sum + saved(candidate), 0) > WORTH_A_KERNEL
  );
  return new Set(worth.flat().map(({ root }) => root));
}

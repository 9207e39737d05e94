/**
 * Joins what the accepted windows kept into components of the whole volume.
 *
 * @module
 */
import type { Component } from "./continuity.ts";
import type { Pieces } from "./pieces.ts";

/**
 * Components of the graph whose nodes are the `kept` pieces and whose edges are overlaps with pieces
 * of the next slice, or across the missing slices that `pieces.overlaps` was built for. Depth-first
 * search with an explicit stack; each component lists its pieces in ascending order.
 */
export function unionComponents(pieces: Pieces, kept: Uint8Array): Component[] {
  const { offsets, targets } = pieces.overlaps;
  const seen = new Uint8Array(pieces.count);
  const stack: number[] = [];
  const components: Component[] = [];
  for (let seed = 0; seed < pieces.count; seed++) {
    if (kept[seed] === 0 || seen[seed] !== 0) continue;
    const members: number[] = [];
    seen[seed] = 1;
    stack.push(seed);
    while (stack.length > 0) {
      const piece = stack.pop()!;
      members.push(piece);
      for (let e = offsets[piece]; e < offsets[piece + 1]; e++) {
        const next = targets[e];
        if (kept[next] === 0 || seen[next] !== 0) continue;
        seen[next] = 1;
        stack.push(next);
      }
    }
    components.push(members.sort((a, b) => a - b));
  }
  return components;
}

/** Connected regions of 2-D masks, 8 neighbours each: small ones are holes or specks. */

/** Regions of a mask [height, width]. */
export interface Regions {
  /** 0 outside the mask, else 1, 2, … in the order in which regions are met row by row. */
  readonly labels: Int32Array;
  /** Pixels of region i + 1. */
  readonly areas: readonly number[];
}

/** Labels the pixels i for which `inside(i)` holds. */
export function labelRegions(
  inside: (pixel: number) => boolean,
  height: number,
  width: number,
): Regions {
  const labels = new Int32Array(height * width);
  const pending = new Int32Array(height * width);
  const areas: number[] = [];
  for (let seed = 0; seed < labels.length; seed++) {
    if (labels[seed] !== 0 || !inside(seed)) continue;
    const label = areas.length + 1;
    let [area, depth] = [0, 0];
    labels[seed] = label;
    pending[depth++] = seed;
    while (depth > 0) {
      const pixel = pending[--depth];
      area++;
      const x = pixel % width;
      const y = (pixel - x) / width;
      for (let ny = Math.max(0, y - 1); ny <= Math.min(height - 1, y + 1); ny++) {
        for (let nx = Math.max(0, x - 1); nx <= Math.min(width - 1, x + 1); nx++) {
          const next = ny * width + nx;
          if (labels[next] !== 0 || !inside(next)) continue;
          // Marked when it is met, so that every pixel is pending once at most.
          labels[next] = label;
          pending[depth++] = next;
        }
      }
    }
    areas.push(area);
  }
  return { labels, areas };
}

/** Which small regions get which value. */
export interface SmallRegionRule {
  /** Whether the value at a pixel belongs to the kind of region in question. */
  readonly inside: (value: number) => boolean;
  /** Regions of at most this many pixels are replaced; 0 replaces none. */
  readonly maxArea: number;
  /** The value that they get. */
  readonly value: number;
}

/**
 * Replaces small regions of maps [N, height, width] in a copy. All rules look at the maps as they were;
 * of two rules that meet a pixel the later one counts.
 */
export function replaceSmallRegions(
  maps: Float32Array,
  height: number,
  width: number,
  rules: readonly SmallRegionRule[],
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(maps);
  const plane = height * width;
  for (let start = 0; start < maps.length; start += plane) {
    for (const { inside, maxArea, value } of rules) {
      if (maxArea <= 0) continue;
      const { labels, areas } = labelRegions((i) => inside(maps[start + i]), height, width);
      if (areas.every((area) => area > maxArea)) continue;
      for (let i = 0; i < plane; i++) {
        if (labels[i] > 0 && areas[labels[i] - 1] <= maxArea) out[start + i] = value;
      }
    }
  }
  return out;
}

/**
 * Generated masks. A pixel whose logit lies within rounding of the threshold may fall on either side: a
 * mask may differ in single such pixels, and with it what is derived from it.
 */
import { rleToMask } from "../../model/predictors/rle.ts";
import { type Comparison, countRule, failure, type Rule, valuesRule } from "./compare.ts";
import type { Fixture } from "./fixture.ts";
import type { HostTensor } from "./inputs.ts";

/** Pixels in which one mask may differ. */
const SINGLE_PIXELS = 2;

type Tensors = ReadonlyMap<string, HostTensor>;

/** How a fixture's masks and what derives from them are compared. */
export interface MaskRules {
  /** The comparison of the masks themselves, pixel by pixel. */
  readonly pixels: Comparison;
  /** Rules for the outputs. */
  readonly rules: (name: string) => Rule;
  /** Outputs that say the same as the masks, where these differ in single pixels. */
  readonly left: ReadonlySet<string>;
}

function decode(tensors: Tensors, size: readonly [number, number]): Uint8Array[] | undefined {
  const [counts, offsets] = [tensors.get("rle_counts"), tensors.get("rle_offsets")];
  if (!counts || !offsets) return undefined;
  return Array.from({ length: offsets.data.length - 1 }, (_, k) => {
    const runs = Array.from(counts.data.slice(offsets.data[k], offsets.data[k + 1]));
    return rleToMask({ size, counts: runs }).data;
  });
}

/** Per mask the pixels that differ. */
function differences(golden: readonly Uint8Array[], ours: readonly Uint8Array[]): number[] {
  return golden.map((mask, k) =>
    mask.reduce((count, value, i) => count + (value === ours[k][i] ? 0 : 1), 0)
  );
}

/** |difference| ≤ tol_abs + 2 / (pixels above the lower threshold), of which there are area / stability. */
function stabilityRule(areas: HostTensor): Rule {
  return (s): Comparison[] => {
    const checks = Array.from(s.golden, (golden, i) => ({
      name: s.name,
      measure: "values",
      error: Math.abs(s.ours[i] - golden),
      tolerance: (s.spec.tol_abs ?? 0) + 2 * golden / areas.data[s.index(i)],
    }));
    return checks.length > 0 ? checks : valuesRule(s);
  };
}

/** Compares the masks and gives the rules for all else. */
export function maskRules(
  fixture: Fixture,
  produced: Tensors,
  size: readonly [height: number, width: number],
): MaskRules {
  const [golden, ours] = [decode(fixture.stored, size), decode(produced, size)];
  const none = { rules: () => valuesRule, left: new Set<string>() };
  if (!golden || !ours || golden.length !== ours.length) {
    const reason = `${ours?.length ?? "no"} masks instead of ${golden?.length ?? "none"}`;
    return { pixels: failure("masks", reason), ...none };
  }
  const found = differences(golden, ours);
  const total = found.reduce((a, b) => a + b, 0);
  const most = Math.max(0, ...found);
  const uncertain = fixture.manifest.uncertain_pixels as number | undefined ?? 0;
  const allowed = Math.min(uncertain, SINGLE_PIXELS);
  const pixels = total > uncertain
    ? failure("masks", `${total} pixels differ; ${uncertain} are uncertain`)
    : { name: "masks", measure: "pixels of a mask", error: most, tolerance: allowed };
  // A pixel at the rim of a mask may move its box by any distance.
  const reach = found.flatMap((pixels) => new Array<number>(4).fill(pixels > 0 ? Infinity : 0));
  const special = new Map<string, Rule>([
    ["area", countRule(found)],
    ["bbox", countRule(reach)],
    ["stability_score", stabilityRule(fixture.stored.get("area")!)],
  ]);
  return {
    pixels,
    rules: (name) => special.get(name) ?? valuesRule,
    left: new Set(most > 0 && most <= allowed ? ["rle_counts", "rle_offsets"] : []),
  };
}

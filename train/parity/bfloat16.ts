/**
 * Memories that are stored as bfloat16. A value near the middle between two bfloat16 numbers may fall
 * on either side, and a memory of one other element changes all later frames a little. How much is
 * bounded by what rounding does at all: the golden results of both variants tell it.
 */
import {
  type Comparison,
  failure,
  momentChecks,
  type Rule,
  valuesRule,
  widerRule,
} from "./compare.ts";
import type { Fixture } from "./fixture.ts";

/**
 * Share of the whole effect of rounding that single elements may make up. One of the 128 elements of
 * the smallest memories, a step off instead of rounded (half a step at most, evenly spread), has
 * 2 sqrt(3 / 128) = 0.3 of the effect of rounding all of them.
 */
const EFFECT_SHARE = 0.25;

/** Share of a memory's elements that may fall on the other side, and the least number of them. */
const SINGLE_ELEMENTS = { share: 0.05, least: 2 } as const;

/** Bits of a bfloat16's fraction. */
const FRACTION_BITS = 7;

/** Distance of neighbouring bfloat16 numbers at a value. */
export function bfloat16Step(value: number): number {
  if (value === 0) return 0;
  return 2 ** (Math.floor(Math.log2(Math.abs(value))) - FRACTION_BITS);
}

/** Memory features: single elements may be one step off, plus `more` from earlier frames. */
export function memoryRule(more: number): Rule {
  return (s): Comparison[] => {
    const tolerance = s.spec.tol_abs;
    if (tolerance === undefined) return [failure(s.name, "the manifest gives no tolerance")];
    let [off, worst, excess] = [0, 0, 0];
    for (let i = 0; i < s.ours.length; i++) {
      const error = Math.abs(s.ours[i] - s.golden[i]);
      worst = Math.max(worst, error);
      if (error <= tolerance) continue;
      off++;
      excess = Math.max(excess, error - bfloat16Step(s.golden[i]));
    }
    const allowed = Math.max(SINGLE_ELEMENTS.least, SINGLE_ELEMENTS.share * s.ours.length);
    const spread = tolerance + worst * Math.sqrt(allowed / s.ours.length);
    const bound = { center: spread, spread, extreme: tolerance + worst };
    return [
      { name: s.name, measure: "values a step off", error: off, tolerance: allowed },
      { name: s.name, measure: "beyond a step", error: excess, tolerance: tolerance + more },
      ...momentChecks(s, bound),
    ];
  };
}

type Effects = Readonly<Record<string, number>> | null | undefined;

/** Rules for a fixture with the variants `f64/` and `bf16/`; only the latter allow for rounding. */
export function variantRules(fixture: Fixture): (name: string) => Rule {
  const effects = fixture.manifest.bf16_effect_max_over_rms as Effects;
  return (name) => {
    if (!name.startsWith("bf16/") || !effects) return valuesRule;
    const kind = name.slice(name.lastIndexOf(".") + 1);
    const exact = fixture.stored.get(name.replace("bf16/", "f64/"))?.data;
    const rounded = fixture.stored.get(name)?.data;
    // What rounding does not reach must agree as in the other variant.
    if (exact && rounded && exact.every((v, i) => v === rounded[i])) return valuesRule;
    // A pixel that changes its owner is left out by name: it does not make the effect larger.
    const effect = kind === "video_res_masks"
      ? effects.video_res_before_non_overlap ?? effects[kind]
      : effects[kind];
    const rms = fixture.manifest.outputs?.[name]?.stats?.rms ?? 0;
    const more = EFFECT_SHARE * (effect ?? 0) * rms;
    return kind === "maskmem_features" ? memoryRule(more) : widerRule(more);
  };
}

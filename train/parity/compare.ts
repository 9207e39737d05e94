/** Comparison of computed tensors with golden values, by the rules that come with the fixtures. */
import { numel, sameShape, show } from "../../engine/shape.ts";
import type { HostTensor } from "./inputs.ts";
import { relaxation } from "./relaxations.ts";

/** Moments of the golden result over all of its elements. */
export type Stats = Readonly<Record<"mean" | "std" | "min" | "max" | "rms", number>>;

/** Description of an output in a manifest. */
export interface OutputSpec {
  readonly shape: readonly number[];
  /** `sample`: flattened elements 0, stride, 2 * stride, … */
  readonly stored: "full" | "sample";
  readonly stride?: number;
  readonly stats?: Stats;
  /** Deviation of PyTorch's float32 run from its float64 run. */
  readonly f32_err?: {
    readonly max_abs: number;
    readonly mean_abs: number;
    readonly rel_l2: number;
  };
  readonly tol_abs?: number;
  readonly exact?: boolean;
  /** Flat range whose true gradient is zero, where Adam amplifies rounding. */
  readonly ill_conditioned?: {
    readonly first: number;
    readonly last: number;
    readonly tol_abs: number;
  };
  /** Flat indices that hang on a choice within rounding. */
  readonly skip?: readonly number[];
}

/** Outcome for one tensor: its worst error and what was allowed there. */
export interface Comparison {
  readonly name: string;
  readonly error: number;
  readonly tolerance: number;
  /** What the error is of: `values`, `mean`, `rel_l2` … */
  readonly measure: string;
  /** Why nothing could be compared. */
  readonly failure?: string;
}

/** Error as a share of the tolerance: 1 is the limit; not a number fails. */
export function shareOf(c: Comparison): number {
  if (c.failure !== undefined || Number.isNaN(c.error)) return Infinity;
  return c.error === 0 ? 0 : c.error / c.tolerance;
}

/** True where the tensor agrees. */
export function passes(c: Comparison): boolean {
  return shareOf(c) <= 1;
}

/** A comparison that fails for a stated reason. */
export function failure(name: string, reason: string): Comparison {
  return { name, error: Infinity, tolerance: 0, measure: "none", failure: reason };
}

/** The comparison that used most of its tolerance. */
export function worstOf(list: readonly Comparison[]): Comparison {
  return list.reduce((a, b) => shareOf(b) > shareOf(a) ? b : a);
}

/** What a rule sees: golden values at the sampled places, ours there, and ours everywhere. */
export interface Sampled {
  readonly name: string;
  readonly spec: OutputSpec;
  readonly golden: ArrayLike<number>;
  readonly ours: Float64Array;
  readonly all: ArrayLike<number>;
  /** Flat index of each sampled element. */
  readonly index: (i: number) => number;
}

/** How one tensor is judged; all its checks are returned. */
export type Rule = (s: Sampled) => Comparison[];

/**
 * Compares one tensor: shape, finiteness, stored elements and the moments of all elements.
 *
 * @param fixture the fixture's name, for the table of relaxations.
 */
export function compareTensor(
  fixture: string,
  name: string,
  spec: OutputSpec,
  golden: HostTensor | undefined,
  actual: HostTensor | undefined,
  rule: Rule,
): Comparison {
  if (!golden) return failure(name, "the golden tensor is missing from the safetensors file");
  if (!actual) return failure(name, "this output is not produced");
  if (!sameShape(spec.shape, actual.shape)) {
    return failure(name, `shape ${show(actual.shape)} instead of ${show(spec.shape)}`);
  }
  const stride = spec.stored === "sample" ? spec.stride ?? 1 : 1;
  const count = Math.ceil(numel(spec.shape) / stride);
  if (golden.data.length !== count) {
    return failure(name, `${golden.data.length} stored elements, expected ${count}`);
  }
  if (!Array.prototype.every.call(actual.data, Number.isFinite)) {
    return failure(name, "not every element is finite");
  }
  if (count === 0) return { name, error: 0, tolerance: 0, measure: "values" };
  const skipped = new Set(spec.skip ?? []);
  const kept = Array.from({ length: count }, (_, i) => i).filter((i) => !skipped.has(i * stride));
  const checks = rule({
    name,
    spec,
    golden: Float64Array.from(kept, (i) => golden.data[i]),
    ours: Float64Array.from(kept, (i) => actual.data[i * stride]),
    all: actual.data,
    index: (i) => kept[i] * stride,
  });
  const factor = relaxation(fixture, name);
  return worstOf(checks.map((c) => ({ ...c, tolerance: c.tolerance * factor })));
}

/** `exact`: equal. Otherwise |difference| ≤ tol_abs, for the elements and for the moments. */
export const valuesRule: Rule = (s) => {
  if (s.spec.exact) return [exactly(s, () => 0)];
  return within(s, s.spec.tol_abs);
};

/** |difference| ≤ tol_abs + `more`, for the elements and for the moments. */
export function widerRule(more: number): Rule {
  return (s) => within(s, s.spec.tol_abs === undefined ? undefined : s.spec.tol_abs + more);
}

function within(s: Sampled, tolerance: number | undefined): Comparison[] {
  if (tolerance === undefined) return [failure(s.name, "the manifest gives no tolerance")];
  const check = { name: s.name, measure: "values", error: maxError(s), tolerance };
  return [check, ...momentChecks(s, { center: tolerance, spread: tolerance, extreme: tolerance })];
}

/** Relative 2-norm of the difference; a gradient that is truly zero must be small. */
export const gradientRule: Rule = (s) => {
  const rms = s.spec.stats?.rms ?? norm(s.golden) / Math.sqrt(s.golden.length);
  if (rms < 1e-12) {
    const { min, max } = momentsOf(s.all);
    const error = Math.max(max, -min);
    return [{ name: s.name, measure: "|g|", error, tolerance: 1e-6 }];
  }
  const tolerance = Math.max(10 * (s.spec.f32_err?.rel_l2 ?? 0), 1e-4);
  const error = differenceNorm(s) / norm(s.golden);
  const size = Math.sqrt(numel(s.spec.shape));
  const check = { name: s.name, measure: "rel_l2", error, tolerance };
  const spread = tolerance * rms;
  return [check, ...momentChecks(s, { center: spread, spread, extreme: spread * size })];
};

/** Parameters after `steps` Adam steps: single outliers may lie up to 2 * lr * steps away. */
export function optimizerRule(lr: number, steps: number): Rule {
  return (s) => {
    const ill = s.spec.ill_conditioned;
    const inside = (i: number) => ill !== undefined && i >= ill.first && i <= ill.last;
    const sound = (i: number) => !inside(s.index(i));
    const extreme = 2 * lr * steps;
    const center = 10 * (s.spec.f32_err?.mean_abs ?? 0) + 1e-7;
    const checks = [
      { name: s.name, measure: "mean error", error: meanError(s, sound), tolerance: center },
      { name: s.name, measure: "values", error: maxError(s, sound), tolerance: extreme },
    ];
    if (ill) {
      const error = maxError(s, (i) => !sound(i));
      checks.push({ name: s.name, measure: "ill-conditioned", error, tolerance: ill.tol_abs });
    }
    const share = ill ? (ill.last - ill.first + 1) / numel(s.spec.shape) : 0;
    const mean = center + share * (ill?.tol_abs ?? 0);
    const spread = Math.sqrt(mean * extreme);
    return [...checks, ...momentChecks(s, { center: mean, spread, extreme })];
  };
}

/** Integers that may differ by `allowed(i)`, for counts of pixels that lie within rounding of a threshold. */
export function countRule(allowed: readonly number[]): Rule {
  return (s) => [exactly(s, (i) => allowed[s.index(i)] ?? 0)];
}

function exactly(s: Sampled, allowed: (i: number) => number): Comparison {
  let worst = 0;
  for (let i = 0; i < s.ours.length; i++) {
    worst = Math.max(worst, Math.abs(s.ours[i] - s.golden[i]) - allowed(i));
  }
  return { name: s.name, measure: "integers", error: worst, tolerance: 0 };
}

/**
 * Bounds on the moments follow from bounds on the elements: the mean moves by at most the mean
 * error, standard deviation and rms by at most the rms error, extremes by the largest. Sums of the
 * golden moments carry float64 rounding, the stored extremes float32 rounding.
 */
export function momentChecks(
  s: Sampled,
  bound: { center: number; spread: number; extreme: number },
): Comparison[] {
  if (!s.spec.stats || (s.spec.skip?.length ?? 0) > 0) return [];
  const golden = s.spec.stats;
  const ours = momentsOf(s.all);
  const limits = { ...bound, mean: bound.center, std: bound.spread, rms: bound.spread };
  return (["mean", "std", "rms", "min", "max"] as const).map((measure) => {
    const limit = measure === "min" || measure === "max" ? limits.extreme : limits[measure];
    const tolerance = limit + 2 ** -23 * Math.abs(golden[measure]);
    return { name: s.name, measure, error: Math.abs(ours[measure] - golden[measure]), tolerance };
  });
}

function momentsOf(data: ArrayLike<number>): Stats {
  let [sum, squares, min, max] = [0, 0, Infinity, -Infinity];
  for (let i = 0; i < data.length; i++) {
    sum += data[i];
    squares += data[i] * data[i];
    min = Math.min(min, data[i]);
    max = Math.max(max, data[i]);
  }
  const mean = sum / data.length;
  let deviation = 0;
  for (let i = 0; i < data.length; i++) deviation += (data[i] - mean) ** 2;
  const std = Math.sqrt(deviation / data.length);
  return { mean, std, min, max, rms: Math.sqrt(squares / data.length) };
}

function maxError(s: Sampled, where: (i: number) => boolean = () => true): number {
  let worst = 0;
  for (let i = 0; i < s.ours.length; i++) {
    if (where(i)) worst = Math.max(worst, Math.abs(s.ours[i] - s.golden[i]));
  }
  return worst;
}

function meanError(s: Sampled, where: (i: number) => boolean): number {
  let [sum, count] = [0, 0];
  for (let i = 0; i < s.ours.length; i++) {
    if (!where(i)) continue;
    sum += Math.abs(s.ours[i] - s.golden[i]);
    count++;
  }
  return count === 0 ? 0 : sum / count;
}

function differenceNorm(s: Sampled): number {
  let sum = 0;
  for (let i = 0; i < s.ours.length; i++) sum += (s.ours[i] - s.golden[i]) ** 2;
  return Math.sqrt(sum);
}

function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * values[i];
  return Math.sqrt(sum);
}

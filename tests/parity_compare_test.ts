import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import {
  compareTensor,
  countRule,
  gradientRule,
  optimizerRule,
  type OutputSpec,
  passes,
  type Rule,
  shareOf,
  valuesRule,
} from "../train/parity/compare.ts";
import { kindOf } from "../train/parity/kinds/mod.ts";
import { globPattern, RELAXATIONS } from "../train/parity/relaxations.ts";
import { selects } from "../train/parity/run.ts";

const GOLDEN = [1, -2, 3, 0.5, -0.25, 4];

function spec(extra: Partial<OutputSpec> = {}): OutputSpec {
  const mean = GOLDEN.reduce((a, b) => a + b) / GOLDEN.length;
  const rms = Math.hypot(...GOLDEN) / Math.sqrt(GOLDEN.length);
  const std = Math.sqrt(rms ** 2 - mean ** 2);
  const stats = { mean, std, min: -2, max: 4, rms };
  const f32_err = { max_abs: 1e-7, mean_abs: 1e-8, rel_l2: 1e-8 };
  return { shape: [6], stored: "full", stats, f32_err, tol_abs: 1e-5, ...extra };
}

function compare(ours: number[], rule: Rule, extra: Partial<OutputSpec> = {}) {
  const s = spec(extra);
  const stride = s.stored === "sample" ? s.stride! : 1;
  const stored = GOLDEN.filter((_, i) => i % stride === 0);
  return compareTensor(
    "fixture",
    "output",
    s,
    { shape: [stored.length], data: Float64Array.from(stored) },
    { shape: [ours.length], data: Float64Array.from(ours) },
    rule,
  );
}

const moved = (index: number, by: number) => GOLDEN.map((v, i) => i === index ? v + by : v);

Deno.test("valuesRule passes within the tolerance and fails beyond it", () => {
  ok(passes(compare(GOLDEN, valuesRule)));
  ok(passes(compare(moved(2, 0.9e-5), valuesRule)));
  ok(!passes(compare(moved(2, 1.1e-5), valuesRule)));
});

Deno.test("valuesRule notices a wrong element between the samples by its moments", () => {
  const sample = { stored: "sample", stride: 2 } as const;
  ok(passes(compare(GOLDEN, valuesRule, sample)));
  const c = compare(moved(3, 0.1), valuesRule, sample);
  ok(!passes(c));
  ok(c.measure !== "values");
});

Deno.test("compareTensor() fails for not a number, wrong shapes and missing outputs", () => {
  ok(!passes(compare(moved(1, NaN), valuesRule, { stored: "sample", stride: 2 })));
  equal(compare([1, 2], valuesRule).failure, "shape [2] instead of [6]");
  const golden = { shape: [6], data: Float64Array.from(GOLDEN) };
  const missing = compareTensor("f", "o", spec(), golden, undefined, valuesRule);
  equal(missing.failure, "this output is not produced");
  equal(shareOf(missing), Infinity);
});

Deno.test("valuesRule wants integers exactly", () => {
  ok(passes(compare(GOLDEN, valuesRule, { exact: true })));
  ok(!passes(compare(moved(0, 1), valuesRule, { exact: true, tol_abs: 10 })));
});

Deno.test("valuesRule leaves skipped elements out", () => {
  ok(passes(compare(moved(4, 7), valuesRule, { skip: [4] })));
  ok(!passes(compare(moved(3, 7), valuesRule, { skip: [4] })));
});

Deno.test("countRule allows the uncertain pixels only", () => {
  ok(passes(compare(moved(1, 2), countRule([0, 2]))));
  ok(!passes(compare(moved(1, 3), countRule([0, 2]))));
  ok(!passes(compare(moved(0, 1), countRule([0, 2]))));
});

Deno.test("gradientRule judges the relative norm of the difference", () => {
  const size = Math.hypot(...GOLDEN);
  ok(passes(compare(moved(0, 0.9e-4 * size), gradientRule)));
  ok(!passes(compare(moved(0, 1.1e-4 * size), gradientRule)));
});

Deno.test("gradientRule wants a true zero to be small", () => {
  const zero = { stats: { mean: 0, std: 0, min: 0, max: 0, rms: 0 } };
  ok(passes(compare(new Array(6).fill(-9e-7), gradientRule, zero)));
  ok(!passes(compare([0, 0, -2e-6, 0, 0, 0], gradientRule, zero)));
});

Deno.test("optimizerRule allows single outliers but no mean error", () => {
  const rule = optimizerRule(1e-3, 5);
  ok(passes(compare(moved(0, 1e-7), rule)));
  ok(!passes(compare(moved(0, 2e-6), rule)));
  ok(!passes(compare(GOLDEN.map((v) => v + 0.011), rule)));
});

Deno.test("optimizerRule treats ill-conditioned elements by their own tolerance", () => {
  const ill = { ill_conditioned: { first: 1, last: 2, tol_abs: 0.01 } };
  ok(passes(compare(moved(1, 0.009), optimizerRule(1e-3, 5), ill)));
  ok(!passes(compare(moved(1, 0.011), optimizerRule(1e-3, 5), ill)));
  ok(!passes(compare(moved(3, 0.009), optimizerRule(1e-3, 5), ill)));
});

Deno.test("selects() matches globs on the whole name and plain text anywhere", () => {
  const names = ["encoder_tiny_64", "tiny", "ops"];
  deepEqual(names.map((n) => selects("tiny", n)), [true, true, false]);
  deepEqual(names.map((n) => selects("encoder_*", n)), [true, false, false]);
  deepEqual(names.map((n) => selects("t?ny", n)), [false, true, false]);
  deepEqual(names.map((n) => selects(undefined, n)), [true, true, true]);
});

Deno.test("kindOf() prefers the declared kind, then the longest known prefix", () => {
  equal(kindOf("dfe", "sss_dfe_17"), "dfe");
  equal(kindOf(undefined, "ops"), "ops");
  equal(kindOf(undefined, "opsimath"), undefined);
  equal(kindOf(undefined, "unheard_of"), undefined);
});

Deno.test("RELAXATIONS each give a reason and name a pattern", () => {
  for (const { fixture, output, factor, reason } of RELAXATIONS) {
    ok(globPattern(fixture).source.length > 2 && globPattern(output).source.length > 2);
    ok(factor > 1 && reason.length > 20);
  }
});

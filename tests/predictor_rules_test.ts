/** The rules by which parity compares predictors: what they let pass, and what not. */
import { ok, strictEqual as equal } from "node:assert/strict";
import { maskToRle } from "../model/predictors/rle.ts";
import { bfloat16Step, memoryRule, variantRules } from "../train/parity/bfloat16.ts";
import { compareTensor, type OutputSpec, passes, type Rule } from "../train/parity/compare.ts";
import type { Fixture, Manifest } from "../train/parity/fixture.ts";
import type { HostTensor } from "../train/parity/inputs.ts";
import { maskRules } from "../train/parity/mask_rules.ts";

const COUNT = 100;
const TOLERANCE = 1e-6;
const golden = Float32Array.from(
  { length: COUNT },
  (_, i) => (i % 2 === 0 ? 1 : -1) * (1 + i / 128),
);
const spec: OutputSpec = { shape: [COUNT], stored: "full", tol_abs: TOLERANCE };

const tensorOf = (data: Float32Array): HostTensor => ({ shape: [data.length], data });

function agrees(ours: Float32Array, rule: Rule, of = spec): boolean {
  return passes(compareTensor("fixture", "x", of, tensorOf(golden), tensorOf(ours), rule));
}

/** Golden values, some of them moved by bfloat16 steps. */
const moved = (places: readonly number[], steps: number) =>
  golden.map((v, i) => places.includes(i) ? v + steps * bfloat16Step(v) : v);

Deno.test("bfloat16Step() is the distance of neighbouring numbers", () => {
  equal(bfloat16Step(1), 2 ** -7);
  equal(bfloat16Step(-3.9), 2 ** -6);
  equal(bfloat16Step(0.4), 2 ** -9);
  equal(bfloat16Step(0), 0);
});

Deno.test("memoryRule() lets single elements be a step off, no more of them and no further", () => {
  const rule = memoryRule(0);
  ok(agrees(golden, rule));
  ok(agrees(moved([1, 50, 70, 71, 99], 1), rule));
  ok(!agrees(moved([1, 50, 70, 71, 98, 99], 1), rule), "six of a hundred");
  ok(!agrees(moved([1], 2), rule), "two steps");
  ok(agrees(moved([1], 2), memoryRule(0.1)), "two steps after an earlier effect");
});

/** A fixture in which rounding moved `touched` by as much as 1 % and left `untouched` alone. */
function fixtureOf(): Fixture {
  const rounded = golden.map((v) => v * 1.01);
  const stats = { mean: 0, std: 0, min: 0, max: 0, rms: 1 };
  const manifest: Manifest = {
    fixture: "fixture",
    bf16_effect_max_over_rms: { touched: 0.01, untouched: 0.01 },
    outputs: {
      "bf16/a.touched": { ...spec, stats },
      "bf16/a.untouched": { ...spec, stats },
    },
  };
  const stored = new Map([
    ["f64/a.touched", tensorOf(golden)],
    ["bf16/a.touched", tensorOf(rounded)],
    ["f64/a.untouched", tensorOf(golden)],
    ["bf16/a.untouched", tensorOf(golden)],
  ]);
  return { name: "fixture", manifest, stored, config: undefined };
}

Deno.test("variantRules() allows for rounding only where it had an effect, and for a part of it", () => {
  const rules = variantRules(fixtureOf());
  const off = (by: number) => golden.map((v) => v + by);
  ok(agrees(off(0.0024), rules("bf16/a.touched")));
  ok(!agrees(off(0.0026), rules("bf16/a.touched")), "more than a quarter of the effect");
  ok(!agrees(off(0.0001), rules("bf16/a.untouched")));
  ok(!agrees(off(0.0001), rules("f64/a.touched")));
});

const SIZE = [6, 7] as const;
const square = (pixels: readonly number[]) => {
  const data = new Uint8Array(42);
  for (const y of [1, 2, 3, 4]) data.fill(1, y * 7 + 1, y * 7 + 5);
  for (const pixel of pixels) data[pixel] ^= 1;
  return maskToRle({ data, width: 7, height: 6 });
};

/** Outputs of one mask that differs in some pixels. */
function maskTensors(pixels: readonly number[]): Map<string, HostTensor> {
  const { counts } = square(pixels);
  const integers = (values: readonly number[]) => ({
    shape: [values.length],
    data: Int32Array.from(values),
  });
  return new Map<string, HostTensor>([
    ["rle_counts", integers(counts)],
    ["rle_offsets", integers([0, counts.length])],
    ["area", integers([16 + pixels.length])],
    ["stability_score", tensorOf(Float32Array.of(0.8))],
  ]);
}

Deno.test("maskRules() lets single uncertain pixels differ, and nothing else", () => {
  const manifest: Manifest = { fixture: "fixture", uncertain_pixels: 2 };
  const fixture: Fixture = {
    name: "fixture",
    manifest,
    stored: maskTensors([]),
    config: undefined,
  };
  const check = (pixels: number[], of = fixture) => maskRules(of, maskTensors(pixels), SIZE);
  ok(passes(check([]).pixels));
  equal(check([]).left.size, 0, "run lengths of equal masks are compared too");
  ok(passes(check([0, 6]).pixels));
  ok(check([0, 6]).left.has("rle_counts"));
  ok(!passes(check([0, 6, 41]).pixels), "three pixels");
  const certain = { ...fixture, manifest: { ...manifest, uncertain_pixels: 0 } };
  ok(!passes(check([0], certain).pixels), "no pixel is uncertain");
  const none = maskTensors([]);
  none.set("rle_offsets", { shape: [1], data: Int32Array.of(0) });
  ok(!passes(maskRules(fixture, none, SIZE).pixels), "a mask is missing");
});

Deno.test("maskRules() lets stability move by two pixels at the rim", () => {
  const fixture: Fixture = {
    name: "fixture",
    manifest: { fixture: "fixture" },
    stored: maskTensors([]),
    config: undefined,
  };
  const rule = maskRules(fixture, maskTensors([]), SIZE).rules("stability_score");
  const one = { shape: [1], stored: "full", tol_abs: TOLERANCE } as const;
  const score = (value: number) => tensorOf(Float32Array.of(value));
  const compare = (value: number) =>
    passes(compareTensor("fixture", "x", one, score(0.8), score(value), rule));
  // The lower threshold has 16 / 0.8 = 20 pixels.
  ok(compare(0.8 + 0.099));
  ok(!compare(0.8 + 0.101));
});

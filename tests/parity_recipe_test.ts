import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { fnv1a, hashUnits, hashValues } from "../train/parity/hash.ts";
import { makeInput, normalizeFrames } from "../train/parity/inputs.ts";
import { loadFixture } from "../train/parity/fixture.ts";
import { weightRule, weightValues } from "../train/parity/weights.ts";
import { sharedPath, sharedTest } from "./shared.ts";

type WeightRow = [
  key: string,
  shape: number[],
  kind: string,
  offset: number,
  scale: number,
  seed: number,
  first: number[],
  last: number,
  sum: number,
];

for (const config of ["tiny", "tiny20", "sam2.1_hiera_t"]) {
  sharedTest(`weightValues() agrees bit for bit with params_${config}.json`, () => {
    const file = Deno.readTextFileSync(sharedPath(`golden/params_${config}.json`));
    const { prefix, tensors } = JSON.parse(file) as { prefix: string; tensors: WeightRow[] };
    ok(tensors.length > 300);
    for (const [key, shape, kind, offset, scale, seed, first, last, sum] of tensors) {
      deepEqual(weightRule(key, shape), { kind, offset, scale }, key);
      equal(fnv1a(prefix + key), seed, key);
      const values = weightValues(prefix, key, shape);
      deepEqual([...values.subarray(0, first.length)], first, key);
      equal(values[values.length - 1], last, key);
      // The reference sums pairwise: the same terms in another order.
      ok(Math.abs(sumOf(values) - sum) <= 1e-13 * values.length, key);
    }
  });
}

function sumOf(values: Float32Array): number {
  let sum = 0;
  for (const v of values) sum += v;
  return sum;
}

sharedTest("makeInput() reproduces the stored synthetic video", async () => {
  const fixture = await loadFixture(sharedPath("golden"), "track_tiny_point.manifest.json");
  const made = makeInput(fixture.manifest.inputs!.frames, fixture.stored);
  deepEqual(made.data, fixture.stored.get("frames")!.data);
});

Deno.test("hashValues() spans [offset - scale, offset + scale) evenly", () => {
  const values = hashValues("spread", 20000, 2, 0.5);
  ok(values.every((v) => v >= 1.5 && v < 2.5));
  ok(Math.abs(sumOf(values) / values.length - 2) < 0.01);
  ok(hashUnits("spread", 100).every((u, i) => Math.fround(2 + 0.5 * (2 * u - 1)) === values[i]));
});

Deno.test("weightValues() takes the override of a key", () => {
  const values = weightValues("", "a.bias", [8], { "a.bias": [-3, 0] });
  deepEqual([...values], new Array(8).fill(-3));
});

Deno.test("makeInput() draws discs with x as column and y as row", () => {
  const { data } = makeInput(
    { gen: "disc", shape: [1, 1, 3, 4], discs: [[2, 0, 1]] },
    new Map(),
  );
  deepEqual([...data], [0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0]);
});

Deno.test("makeInput() keeps the shape of nested literals", () => {
  const made = makeInput({ gen: "literal", dtype: "I32", values: [[1], [-1]] }, new Map());
  deepEqual(made, { shape: [2, 1], data: Int32Array.of(1, -1) });
});

Deno.test("makeInput() refuses an unknown generator and a missing field", () => {
  throws(() => makeInput({ gen: "dice" }, new Map()), /"dice" are unknown/);
  throws(() => makeInput({ gen: "hash", shape: [1] }, new Map()), /no "seed"/);
});

Deno.test("normalizeFrames() moves channels first and standardises them", () => {
  const frames = { shape: [1, 1, 2, 3], data: Uint8Array.of(255, 0, 51, 0, 255, 102) };
  const { shape, data } = normalizeFrames(frames);
  deepEqual(shape, [1, 3, 1, 2]);
  equal(data[0], Math.fround((1 - 0.485) / 0.229));
  equal(data[3], Math.fround((1 - 0.456) / 0.224));
  equal(data[4], Math.fround((51 / 255 - 0.406) / 0.225));
});

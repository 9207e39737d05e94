import { Numbers } from "../engine/compile/numbers.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { cat, permute, read, type Tensor, tensor } from "../engine/mod.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { planFor } from "./plans.ts";

const LARGEST = 2 ** 21;

const ramp = (shape: number[]) =>
  tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i), shape);

Deno.test("Numbers.quotient() multiplies by an inverse only where that is exact", () => {
  const numbers = new Numbers(true);
  for (const by of [3, 5, 6, 7, 11, 12, 33, 100, 129, 1000, 12345, 2 ** 20 - 1, 2 ** 20 + 1]) {
    const { statements, sizes } = numbers.finish(`let q = ${numbers.quotient("x", by, LARGEST)};`);
    ok(statements.includes("quotient(x, inverse0)"));
    const inverse = new Float32Array(Uint32Array.of(sizes!.inverse0).buffer)[0];
    const near = (k: number) => [k * by - 1, k * by].filter((a) => a >= 0 && a < LARGEST);
    for (let k = 0; k * by <= LARGEST; k += Math.max(1, Math.floor(LARGEST / by / 5000))) {
      for (const a of near(k)) {
        equal(Math.trunc(Math.fround((a + 0.5) * inverse)), Math.floor(a / by), `${a} / ${by}`);
      }
    }
  }
  ok(numbers.quotient("x", 3, LARGEST + 1).includes("/"));
});

Deno.test("Numbers.finish() names equal numbers once and bakes them when told so", () => {
  const write = (numbers: Numbers) =>
    numbers.finish(
      `${numbers.product("x", 12)} + ${numbers.of(12, "stride")} < ${
        numbers.remainder("y", 8, 64)
      }`,
    );
  const data = write(new Numbers(true));
  ok(data.statements.endsWith("x * stride0 + stride0 < (y & mask1)"));
  deepEqual(data.sizes, { stride0: 12, mask1: 7 });
  const baked = write(new Numbers(false));
  equal(baked.statements, "x * 12u + 12u < y % 8u");
  equal(baked.sizes, undefined);
});

Deno.test("permute() is right when its size is about the largest that is divided by inverses", async () => {
  for (const shape of [[127, 129, 128], [129, 129, 129], [3, 1, 5]]) {
    const [a, b, c] = shape;
    const moved = await read(permute(ramp(shape), [2, 0, 1]));
    let wrong = 0;
    for (let at = 0; at < moved.length; at++) {
      const [z, x, y] = [Math.floor(at / (a * b)), Math.floor(at / b) % a, at % b];
      if (moved[at] !== (x * b + y) * c + z) wrong++;
    }
    equal(wrong, 0, `[${shape}]`);
  }
});

Deno.test("generated kernels share their source when shapes differ", async () => {
  const profile = await activeProfile();
  const sourcesOf = (t: Tensor) => planFor([t], profile).steps.map(({ kernel }) => kernel.source);
  const swapped = (shape: number[]) => permute(ramp(shape), [0, 2, 1, 3]);
  deepEqual(sourcesOf(swapped([2, 3, 5, 12])), sourcesOf(swapped([7, 6, 11, 20])));
  const joined = (n: number, m: number) => cat([ramp([3, n]), ramp([3, m])], 1);
  deepEqual(sourcesOf(joined(6, 3)), sourcesOf(joined(10, 9)));
  deepEqual([...await read(joined(2, 1))], [0, 1, 0, 2, 3, 1, 4, 5, 2]);
});

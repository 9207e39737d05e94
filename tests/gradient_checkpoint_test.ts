import {
  add,
  checkpoint,
  dropout,
  gelu,
  gradients,
  layerNorm,
  matmul,
  mean,
  mul,
  pow,
  randomKey,
  readAll,
  reserve,
  reshape,
  scaledDotProductAttention,
  square,
  sum,
  tanh,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import { hashValues } from "../train/parity/hash.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";

const [ROWS, WIDTH, LAYERS] = [48, 32, 6];
/** Bytes of the input of a layer. */
const INPUT = ROWS * WIDTH * 4;

const values = (name: string, ...shape: number[]) =>
  tensor(hashValues(name, shape.reduce((a, b) => a * b, 1), 0, 0.3), shape);

type Layer = (x: Tensor) => Tensor;
type Wrap = (layer: Layer, x: Tensor) => Tensor;

/** Loss and gradients of layers of two weights each, each one applied through `wrap`. */
function trained(wrap: Wrap, layer: (x: Tensor, w: Tensor, v: Tensor) => Tensor): Tensor[] {
  const x = values("x", ROWS, WIDTH);
  const weights = Array.from({ length: LAYERS }, (_, i) => [
    values(`wide ${i}`, WIDTH, 4 * WIDTH),
    values(`narrow ${i}`, 4 * WIDTH, WIDTH),
  ]);
  const y = weights.reduce((t, [w, v]) => wrap((input) => layer(input, w, v), t), x);
  const loss = mean(square(y));
  return [loss, ...gradients(loss, [x, ...weights.flat()]).map((g) => g!)];
}

const plain: Wrap = (layer, x) => layer(x);
const residual = (x: Tensor, w: Tensor, v: Tensor) => add(x, matmul(gelu(matmul(x, w)), v));
const products = (targets: readonly Tensor[]) =>
  canonicalise(targets).nodes.filter(({ op }) => op === "matmul").length;
const arena = async (read: readonly Tensor[]) => (await reserve({ read })).arena;

Deno.test("checkpoint() gives equal gradients from less memory", async () => {
  const [kept, anew] = [trained(plain, residual), trained(checkpoint, residual)];
  deepEqual(await readAll(anew), await readAll(kept));
  // The results have their place in the arena too; the weights' gradients fill it.
  const results = LAYERS * 8 * WIDTH * WIDTH * 4;
  const [before, after] = [await arena(kept) - results, await arena(anew) - results];
  ok(before > LAYERS * 4 * INPUT, `${before / INPUT} inputs`);
  ok(after < (LAYERS + 16) * INPUT, `${after / INPUT} inputs`);
  // No gradient needs the value of a layer's last product.
  equal(products(anew), products(kept) + LAYERS);
});

Deno.test("checkpoint() repeats dropout, attention and normalisation as they were", async () => {
  const key = randomKey(7);
  const layer = (x: Tensor, w: Tensor, v: Tensor) => {
    const scale = tensor(new Float32Array(WIDTH).fill(1.5), [WIDTH]);
    const y = matmul(dropout(gelu(matmul(layerNorm(x, scale, scale), w)), 0.4, key), v);
    const [q, k] = [y, x].map((t) => reshape(t, [1, 2, ROWS / 2, WIDTH]));
    return add(x, reshape(scaledDotProductAttention(q, k, mul(q, k)), x.shape));
  };
  deepEqual(await readAll(trained(checkpoint, layer)), await readAll(trained(plain, layer)));
});

Deno.test("checkpoint() of parts within parts repeats the inner ones once more", async () => {
  const nested: Wrap = (layer, x) =>
    checkpoint((input) => {
      const half = (t: Tensor) => checkpoint(layer, t);
      return half(add(half(input), input));
    }, x);
  const twice: Wrap = (layer, x) => layer(add(layer(x), x));
  const [kept, anew] = [trained(twice, residual), trained(nested, residual)];
  deepEqual(await readAll(anew), await readAll(kept));
  // Of the four products of a pair, the outer part repeats two whose values its inner ones pass on,
  // and each of those one.
  equal(products(anew), products(kept) + LAYERS * 4);
});

Deno.test("checkpoint() leaves a graph without gradients as it is, and ends where its function throws", async () => {
  const x = values("x", ROWS, WIDTH);
  const y = checkpoint(gelu, x);
  equal(canonicalise([y]).fingerprint, canonicalise([gelu(x)]).fingerprint);
  throws(() =>
    checkpoint(() => {
      throw new RangeError("no");
    }), /no/);
  equal(gelu(x).segment, undefined);
  equal((await readAll([y]))[0].length, ROWS * WIDTH);
});

Deno.test("gradients() of gradients go through checkpoint(), but not to what is made inside", async () => {
  const [x, w] = [values("x", 3, 4), values("w", 4, 4)];
  const layer = (t: Tensor) => tanh(matmul(tanh(matmul(t, w)), w));
  const slope = (y: Tensor, wanted: Tensor) => gradients(sum(pow(y, 3)), [wanted])[0]!;
  const second = async (wrap: Wrap) => {
    const found = gradients(sum(square(slope(wrap(layer, x), w))), [x, w]);
    return (await readAll(found.map((g) => g!))).flatMap((g) => [...g]);
  };
  const [kept, anew] = [await second(plain), await second(checkpoint)];
  kept.forEach((value, i) => ok(Math.abs(anew[i] - value) < 1e-5 * (1 + Math.abs(value))));
  const y = checkpoint(layer, x);
  throws(
    () => gradients(sum(square(slope(mul(y, x), x))), [y]),
    /^Error: gradients: second derivatives with regard to a tensor made inside checkpoint\(\) are/,
  );
});

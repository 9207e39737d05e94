import assert from "node:assert/strict";
import { add, mul, permute, readAll, reshape, type Tensor, tensor } from "../engine/mod.ts";
import { initialise } from "../engine/nn/mod.ts";
import { Dfe } from "../model/sss/dfe.ts";
import { close } from "./close.ts";

const OPTIONS = { similarity: "global", temperature: 1, residual: "add" } as const;

function maps(shape: number[], phase: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(Float32Array.from({ length: size }, (_, i) => Math.sin(i * 0.7 + phase)), shape);
}

async function seeded(dim: number): Promise<Dfe> {
  const dfe = new Dfe(dim);
  await initialise(dfe, 1);
  return dfe;
}

async function values(...tensors: Tensor[]): Promise<Float32Array[]> {
  return await readAll(tensors) as Float32Array[];
}

for (const dim of [1, 3, 17]) {
  const shape = [2, dim, 5, 3];

  Deno.test(`Dfe.compare() gives MLP(K * P) when both streams are alike, ${dim} channels`, async () => {
    const dfe = await seeded(dim);
    const p = maps(shape, 0);
    const { out, similarity } = dfe.compare(p, p);
    const [got, expected, s] = await values(out, dfe.mlp.forward(dfe.align.forward(p)), similarity);
    close(got, expected, 1e-5, "E(P, P)");
    close(s, Float32Array.of(1, 1), 1e-5, "similarity");
  });

  Deno.test(`Dfe.compare() adds up to both mapped streams when they change places, ${dim} channels`, async () => {
    const dfe = await seeded(dim);
    const [p, q] = [maps(shape, 0), maps(shape, 2)];
    const mapped = (x: Tensor) => dfe.mlp.forward(dfe.align.forward(x));
    const both = add(dfe.compare(p, q).out, dfe.compare(q, p).out);
    const [got, expected] = await values(both, add(mapped(p), mapped(q)));
    close(got, expected, 1e-5, "E(P, Q) + E(Q, P)");
  });

  Deno.test(`Dfe.compare() treats samples alike when their order changes, ${dim} channels`, async () => {
    const dfe = await seeded(dim);
    const [p, q] = [maps(shape, 0), maps(shape, 2)];
    const half = shape.slice(1).reduce((a, b) => a * b, 1);
    const swapped = (x: Tensor) => {
      const data = x.host as Float32Array;
      return tensor(Float32Array.from([...data.slice(half), ...data.slice(0, half)]), shape);
    };
    const [one, other] = await values(
      dfe.compare(p, q).out,
      dfe.compare(swapped(p), swapped(q)).out,
    );
    close(other, [...one.slice(half), ...one.slice(0, half)], 1e-5, "swapped samples");
  });
}

Deno.test("Dfe.enhance() leaves the stream as it is when training starts", async () => {
  const dfe = await seeded(3);
  const p = maps([2, 3, 4, 4], 0);
  const [got] = await values(dfe.enhance(p, maps([2, 3, 4, 4], 1), OPTIONS));
  assert.deepEqual(got, p.host);
});

Deno.test("Dfe.enhance() lets the stream meet itself when the other one is foreign", async () => {
  const dfe = await seeded(3);
  dfe.scale.host = Float32Array.of(0.5);
  const p = maps([1, 3, 4, 4], 0);
  const foreign = tensor(new Float32Array(16).fill(1), [1, 1, 4, 4]);
  const [masked, own] = await values(
    dfe.enhance(p, maps([1, 3, 4, 4], 1), OPTIONS, foreign),
    dfe.enhance(p, p, OPTIONS),
  );
  close(masked, own, 1e-6, "foreign pixels");
});

Deno.test("Dfe.compare() has one similarity per position when it is spatial", async () => {
  const dfe = await seeded(3);
  const p = maps([2, 3, 5, 4], 0);
  const turned = reshape(permute(reshape(mul(p, 2), [2, 3, 20]), [0, 1, 2]), [2, 3, 5, 4]);
  const { similarity } = dfe.compare(p, turned, { similarity: "spatial" });
  assert.deepEqual([...similarity.shape], [2, 1, 5, 4]);
  const [s] = await values(similarity);
  assert.ok(s.every((v) => v <= 1 + 1e-5 && v >= -1 - 1e-5));
});

/** Loops of more rounds than llvmpipe gives an invocation: cut up or unrolled, or refused. */
import {
  conv2d,
  cumsum,
  dfeSimilarity,
  evaluate,
  gradients,
  indexSelect,
  interpolate,
  maxPool2d,
  numel,
  readAll,
  scaledDotProductAttention,
  type Shape,
  softmax,
  sum,
  tensor,
} from "../engine/mod.ts";
import { lowerConv2dWeight } from "../shaders/conv2d.ts";
import type { ConvShape } from "../shaders/conv2d_shape.ts";
import { lowerMatmul } from "../shaders/matmul.ts";
import { MOST_ROUNDS } from "../shaders/rounds.ts";
import { close, values } from "./close.ts";
import { onSchedule } from "./engine_modes.ts";
import { deviceFor } from "./kernel_harness.ts";
import { ok, rejects } from "node:assert/strict";

const CPU = ["cpu", "cpu-nosubgroup"] as const;
const leaf = (seed: number, ...shape: Shape) => tensor(values(numel(shape), seed), shape);

/** Where all queries are zero, all keys weigh the same. */
async function checkAttention(queries: number, keys: number, dim: number): Promise<void> {
  const q = tensor(new Float32Array(queries * dim), [1, 1, queries, dim]);
  const [first, second] = [values(keys * dim, 1), values(keys * dim, 2)];
  const [k, v] = [first, second].map((data) => tensor(data, [1, 1, keys, dim]));
  const out = scaledDotProductAttention(q, k, v);
  const slopes = gradients(sum(out), [q, k, v]).map((g) => g!);
  const [y, dq, dk, dv] = await readAll([out, ...slopes]);
  const mean = new Float64Array(dim);
  second.forEach((x, i) => mean[i % dim] += x / keys);
  const total = mean.reduce((a, b) => a + b);
  const slope = new Float64Array(dim);
  for (let j = 0; j < keys; j++) {
    const own = second.subarray(j * dim, (j + 1) * dim).reduce((a, b) => a + b);
    for (let d = 0; d < dim; d++) {
      slope[d] += (own - total) * first[j * dim + d] / keys / Math.sqrt(dim);
    }
  }
  const repeated = (row: Float64Array) => Array.from(y, (_, i) => row[i % dim]);
  close(y, repeated(mean), 1e-5, "result");
  close(dq, repeated(slope), 1e-5, "gradient of queries");
  close(dk, new Float32Array(keys * dim), 1e-5, "gradient of keys");
  close(dv, new Float32Array(keys * dim).fill(queries / keys), 1e-5, "gradient of values");
}

Deno.test("attention sees all keys and queries when a loop over vectors would be too long", () =>
  onSchedule("cpu", async () => {
    await checkAttention(8, 8200, 256);
    await checkAttention(4200, 8, 256);
  }));

Deno.test("attention is refused when its loops stay too long", async () => {
  for (const schedule of CPU) {
    await onSchedule(schedule, async () => {
      const [q, k] = [leaf(1, 1, 1, 1, 4), leaf(2, 1, 1, 2 ** 19, 4)];
      await rejects(evaluate([scaledDotProductAttention(q, k, k)]), {
        name: "RangeError",
        message:
          /^attention forward 1x1x524288x4 takes \d+ rounds of loops; software adapters end them after 65535\.$/,
      });
    });
  }
});

Deno.test("products and weight gradients are cut when a loop would be too long", async () => {
  for (const schedule of CPU) {
    const { profile } = await deviceFor(schedule);
    const shape = {
      batchA: 1,
      batchB: 1,
      m: 100,
      k: 2 ** 20,
      n: 100,
      transA: false,
      transB: false,
    };
    const [product] = lowerMatmul(shape, profile).steps;
    // Each round takes at least four terms, and none of the sums may be long.
    ok(product.kernel.sizes!.chunk <= 4 * MOST_ROUNDS / 2 + 4, product.kernel.label);
    const image: ConvShape = {
      ...{ batch: 2, channels: 64, height: 1024, width: 1024, filters: 64, groups: 1 },
      kernel: [3, 3],
      stride: [1, 1],
      padding: [1, 1],
    };
    const [weight] = lowerConv2dWeight(image, profile).steps;
    ok(weight.kernel.sizes!.linesOfPart * (1024 / 4 + 1) < MOST_ROUNDS, weight.kernel.label);
  }
});

Deno.test("lines that an invocation cannot go through are refused", () =>
  onSchedule("cpu", async () => {
    const long = leaf(1, 1, 70000, 65);
    await rejects(evaluate([cumsum(long, 1)]), /^RangeError: cumsum 1x70000x65 takes 70001 rounds/);
    const table = leaf(2, 3, 1);
    const rows = indexSelect(table, 0, tensor(new Uint32Array(70000)));
    const [g] = gradients(sum(rows), [table]);
    await rejects(evaluate([g!]), /^RangeError: indexAdd .* takes 70001 rounds of loops/);
    const map = leaf(3, 1, 1, 2 ** 10, 2 ** 11 + 4);
    await rejects(evaluate([dfeSimilarity(map, map)]), /^RangeError: dfeSimilarity .* rounds/);
  }));

Deno.test("kernels for GPUs are cut or refused as well when a software adapter runs them", async () => {
  const { profile } = await deviceFor("gpu");
  const shape = { batchA: 1, batchB: 1, m: 4, k: 90000, n: 4, transA: false, transB: false };
  const chunkOn = (software: boolean) =>
    Number(
      lowerMatmul(shape, { ...profile, software }).steps[0].kernel.source
        .match(/min\(\d+u, kFirst \+ (\d+)u\)/)![1],
    );
  ok(chunkOn(true) <= MOST_ROUNDS / 1.7, `${chunkOn(true)}`);
  await onSchedule("gpu", async () => {
    const x = leaf(1, 90000, 2);
    await rejects(evaluate([softmax(x, 0)]), /^RangeError: softmax over 90000 .* software adapter/);
    const rows = indexSelect(leaf(2, 3, 1), 0, tensor(new Uint32Array(70000)));
    const [g] = gradients(sum(rows), [rows.inputs[0]]);
    await rejects(evaluate([g!]), /^RangeError: indexAdd .* takes 70001 rounds of loops/);
    const [q, k] = [leaf(3, 1, 1, 1, 8), leaf(4, 1, 1, 70000, 8)];
    await rejects(
      evaluate([scaledDotProductAttention(q, k, k)]),
      /^RangeError: attention forward .* rounds of loops/,
    );
  });
});

Deno.test("pooling, resampling and convolutions are refused when their loops are too long", async () => {
  const map = leaf(1, 1, 1, 300, 300);
  await rejects(evaluate([maxPool2d(map, { kernel: 300 })]), /max pool .* takes 90001 rounds/);
  const small = leaf(2, 1, 1, 33, 33);
  const [slope] = gradients(sum(maxPool2d(small, { kernel: 17, stride: 1 })), [small]);
  await rejects(evaluate([slope!]), /max pool gradient .* takes 83810 rounds/);
  const line = leaf(3, 1, 1, 1, 70000);
  const mean = interpolate(line, { size: [1, 1], mode: "bilinear", antialias: true });
  await rejects(evaluate([mean]), /resample .* takes 70001 rounds/);
  await onSchedule("cpu", async () => {
    const deep = conv2d(leaf(4, 1, 70000, 3, 3), leaf(5, 1, 70000, 3, 3));
    await rejects(evaluate([deep]), /conv2d .* takes 70006 rounds/);
  });
});

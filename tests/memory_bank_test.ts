import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import {
  cosineSimilarity,
  MemoryBank,
  type MemoryItem,
  replacedIndex,
  resamplingProbabilities,
  sampleIndices,
  topIndices,
} from "../model/sss/memory_bank.ts";
import { hashUnits, hashValues, readFixture } from "./sss_golden.ts";

interface HashInput {
  seed: string;
  shape: number[];
  offset: number;
  scale: number;
}

interface BankManifest {
  size: number;
  batch: number;
  inputs: { mem: HashInput; emb: HashInput; iou: HashInput; u: HashInput };
  steps: { bank: number[]; probabilities?: number[][]; sampled?: number[][] }[];
}

function rows({ seed, shape, offset, scale }: HashInput): Float32Array[] {
  const width = shape[1] ?? 1;
  const values = hashValues(seed, shape[0] * width, offset, scale);
  return Array.from({ length: shape[0] }, (_, i) => values.subarray(i * width, (i + 1) * width));
}

for (const name of ["sss_memory_bank", "sss_memory_bank_one"]) {
  Deno.test(`MemoryBank keeps and draws the golden items when fed ${name}`, async () => {
    const { manifest, tensors } = await readFixture<BankManifest>(name);
    const { size, batch, inputs, steps } = manifest;
    const memory = rows(inputs.mem), embedding = rows(inputs.emb);
    const iou = rows(inputs.iou).map((row) => row[0]);
    const units = hashUnits(inputs.u.seed, steps.length * batch * batch);
    let bank = new MemoryBank<number>(size);
    for (const [s, step] of steps.entries()) {
      // A round trip through the checkpoint form halfway must not change anything.
      if (s === Math.floor(steps.length / 2)) {
        bank = MemoryBank.fromState(structuredClone(bank.state()));
      }
      for (let b = 0; b < batch; b++) {
        if (!step.probabilities || !step.sampled) continue;
        const image = embedding[s * batch + b];
        const p = bank.probabilities(image);
        strictEqual(p.length, step.probabilities[b].length);
        p.forEach((v, i) => ok(Math.abs(v - step.probabilities![b][i]) < 1e-12, `step ${s}`));
        const drawn = bank.sample(
          image,
          units.subarray((s * batch + b) * batch).subarray(0, batch),
        );
        deepStrictEqual(drawn.map((i) => bank.items[i].payload), step.sampled[b], `step ${s}`);
      }
      for (let b = 0; b < batch; b++) {
        const n = s * batch + b;
        bank.offer({ memory: memory[n], embedding: embedding[n], iou: iou[n], payload: n });
      }
      deepStrictEqual(bank.items.map((item) => item.payload), step.bank, `step ${s}`);
    }
    deepStrictEqual([...tensors.get("bank_final")!.data], bank.items.map((item) => item.payload));
  });
}

function item(angle: number, iou: number, payload: string): MemoryItem<string> {
  const memory = Float32Array.of(Math.cos(angle), Math.sin(angle));
  return { memory, embedding: memory, iou, payload };
}

Deno.test("MemoryBank.offer() returns what left when the bank is full", () => {
  const bank = new MemoryBank<string>(3);
  for (const m of [item(0, 0.9, "a"), item(0.1, 0.9, "b"), item(1.5, 0.9, "c")]) {
    strictEqual(bank.offer(m), undefined);
  }
  // Least like "d" is "a", and most like "a" is "b", which "d" beats in dissimilarity.
  strictEqual(bank.offer(item(2.5, 0.85, "d"))?.payload, "b");
  deepStrictEqual(bank.items.map((m) => m.payload), ["a", "c", "d"]);
  const unsure = item(-2, 0.1, "e");
  strictEqual(bank.offer(unsure), unsure);
  bank.clear();
  strictEqual(bank.items.length, 0);
  throws(() => bank.probabilities(Float32Array.of(1, 0)), /empty memory bank/);
});

Deno.test("replacedIndex() needs the IoU within the slack when the new memory is less alike", () => {
  const between = [[1, 0.9, 0], [0.9, 1, 0.1], [0, 0.1, 1]];
  const rowOf = (i: number) => between[i];
  strictEqual(replacedIndex([0.2, 0.5, 0.9], rowOf, 0.71, [0.5, 0.8, 0.5], 0.1), 1);
  strictEqual(replacedIndex([0.2, 0.5, 0.9], rowOf, 0.69, [0.5, 0.8, 0.5], 0.1), null);
  strictEqual(replacedIndex([0.95, 0.96, 0.97], rowOf, 1, [0, 0, 0], 0.1), null);
  // The item least alike is the first: its most similar partner must not be itself.
  strictEqual(replacedIndex([-1, 1], (i) => [[1, 0], [0, 1]][i], 1, [0, 0], 0.1), 1);
});

Deno.test("topIndices() is ordered by probability, then index, when there are ties", () => {
  deepStrictEqual(topIndices([0.2, 0.3, 0.2, 0.3], 3), [1, 3, 0]);
  deepStrictEqual(topIndices([0.5, 0.5], 4), [0, 1]);
});

Deno.test("sampleIndices() stays in range when the numbers reach the ends", () => {
  const p = resamplingProbabilities([0.1, 0.1, 0.1]);
  deepStrictEqual(sampleIndices(p, [0, 0.3333, 0.3334, 1 - 2 ** -53]), [0, 0, 1, 2]);
  deepStrictEqual(sampleIndices([0.5, 0.25], [0.999]), [1]);
});

Deno.test("MemoryBank refuses what cannot be compared when sizes differ", () => {
  throws(() => new MemoryBank(1), /at least 2/);
  throws(() => cosineSimilarity(Float32Array.of(1), Float32Array.of(1, 2)), /1 and 2 values/);
  strictEqual(cosineSimilarity(Float32Array.of(0, 0), Float32Array.of(1, 2)), 0);
  const bank = new MemoryBank<string>(2);
  bank.offer(item(0, 1, "a"));
  const wide = { ...item(0, 1, "b"), memory: new Float32Array(3) };
  throws(() => bank.offer(wide), /3 values does not fit a bank of 2/);
  const state = {
    ...bank.state(),
    size: 2,
    items: [item(0, 1, "a"), item(1, 1, "b"), item(2, 1, "c")],
  };
  throws(() => MemoryBank.fromState(state), /3 items do not fit/);
});

/** The self-sorting memory bank: probabilities, draws and order after each step. */
import { MemoryBank } from "../../../model/sss/memory_bank.ts";
import type { Comparison } from "../compare.ts";
import { type Fixture, fixtureInput } from "../fixture.ts";
import { compareExactly, compareRelative } from "../kind.ts";

interface BankStep {
  readonly step: number;
  readonly bank: readonly number[];
  readonly probabilities?: readonly (readonly number[])[];
  readonly sampled?: readonly (readonly number[])[];
}

/** Probabilities come from the same float32 vectors in float64: only the order of sums differs. */
const RELATIVE = 1e-9;

/** Runs a fixture of kind `memory_bank`. */
export function runMemoryBank(fixture: Fixture): Promise<Comparison[]> {
  const { size, batch, steps } = fixture.manifest as unknown as {
    size: number;
    batch: number;
    steps: readonly BankStep[];
  };
  const rows = (name: string) => {
    const { shape, data } = fixtureInput(fixture, name);
    const width = shape[1] ?? 1;
    return (n: number) => Float32Array.from(data.subarray(n * width, (n + 1) * width));
  };
  const [memory, embedding] = [rows("mem"), rows("emb")];
  const iou = fixtureInput(fixture, "iou").data;
  const units = fixtureInput(fixture, "u");
  const [, , draws] = units.shape;
  const bank = new MemoryBank<number>(size);
  const comparisons: Comparison[] = [];
  for (const golden of steps) {
    const items = Array.from({ length: batch }, (_, b) => golden.step * batch + b);
    if (golden.probabilities) {
      items.forEach((n, b) => {
        const name = `step${golden.step}.image${b}`;
        const ours = bank.probabilities(embedding(n));
        golden.probabilities![b].forEach((p, j) =>
          comparisons.push(compareRelative(`${name}.probability${j}`, p, ours[j], RELATIVE))
        );
        const at = (golden.step * batch + b) * draws;
        const picked = bank.sample(
          embedding(n),
          Float64Array.from(units.data.slice(at, at + draws)),
        );
        const numbers = picked.map((j) => bank.items[j].payload);
        comparisons.push(compareExactly(`${name}.sampled`, golden.sampled![b], numbers));
      });
    }
    for (const n of items) {
      bank.offer({ memory: memory(n), embedding: embedding(n), iou: iou[n], payload: n });
    }
    const order = bank.items.map((item) => item.payload);
    comparisons.push(compareExactly(`step${golden.step}.bank`, golden.bank, order));
  }
  const stored = fixture.stored.get("bank_final");
  const last = bank.items.map((item) => item.payload);
  comparisons.push(compareExactly("bank_final", stored && [...stored.data], last));
  return Promise.resolve(comparisons);
}

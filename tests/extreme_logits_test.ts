import {
  bceWithLogits,
  crossEntropy,
  diceLoss,
  gradients,
  logSoftmax,
  logsumexp,
  readAll,
  sigmoidFocalLoss,
  softmax,
  softmaxDice,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { close } from "./close.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { ok } from "node:assert/strict";

/** Logits of four classes at each position, the last two with classes that are ruled out. */
const ROWS = [
  [1e4, -1e4, 0, 1],
  [-1e4, -1e4, -1e4, -1e4],
  [1e4, 1e4, 9999, -3],
  [88, 89, 90, -90],
  [1e38, -1e38, 0, 1],
  [-Infinity, 2, 1, 0],
  [-Infinity, -Infinity, 1e4, -Infinity],
];
/** Classes that are right, among them some that the logits all but exclude. */
const TARGETS = [0, 3, 3, 0, 0, 1, 2];
const CLASSES = ROWS[0].length;

const softmaxOf = (row: readonly number[]) => {
  const top = Math.max(...row);
  const parts = row.map((v) => Math.exp(v - top));
  const mass = parts.reduce((a, b) => a + b);
  return { top, mass, p: parts.map((v) => v / mass) };
};
const logOf = (row: readonly number[]) => {
  const { top, mass } = softmaxOf(row);
  return row.map((v) => v - top - Math.log(mass));
};

/** Logits of single answers with their targets. */
const BINARY = [[1e4, 1], [1e4, 0], [-1e4, 1], [-1e4, 0], [1e4, 0.5], [0, 1], [90, 1], [-90, 0.25]];
const softplusOf = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoidOf = (x: number) => 1 / (1 + Math.exp(-x));
const bceOf = ([x, t]: readonly number[]) => t * softplusOf(-x) + (1 - t) * softplusOf(x);

/** A loss and its gradient in `x`. */
const withSlope = (loss: Tensor, x: Tensor) => [loss, gradients(sum(loss), [x])[0]!];

const total = (list: readonly number[]) => list.reduce((a, b) => a + b);

for (const schedule of SCHEDULES) {
  const on = (name: string, run: () => Promise<void>) =>
    Deno.test(`${name} at extreme logits when run on ${schedule}`, () => onSchedule(schedule, run));

  on("softmax() and crossEntropy() are exact", async () => {
    const x = tensor(ROWS.flat(), [ROWS.length, CLASSES]);
    const target = tensor(Uint32Array.from(TARGETS));
    const results = await readAll([
      softmax(x, 1),
      logSoftmax(x, 1),
      logsumexp(x, 1),
      ...withSlope(crossEntropy(x, target, { reduction: "none" }), x),
    ]);
    const wanted = [
      ROWS.flatMap((row) => softmaxOf(row).p),
      ROWS.flatMap(logOf),
      ROWS.map((row) => softmaxOf(row).top + Math.log(softmaxOf(row).mass)),
      ROWS.map((row, i) => -logOf(row)[TARGETS[i]]),
      ROWS.flatMap((row, i) => softmaxOf(row).p.map((p, c) => p - Number(c === TARGETS[i]))),
    ];
    const names = ["softmax", "logSoftmax", "logsumexp", "crossEntropy", "its gradient"];
    wanted.forEach((w, i) => close(results[i], w, 2e-6, names[i]));
  });

  on("crossEntropy() of a class that is ruled out is infinite, of others finite,", async () => {
    const x = tensor([-Infinity, 2, 1, 0], [1, 4]);
    const losses = await readAll(
      [0, 1].map((c) => crossEntropy(x, tensor(Uint32Array.of(c)))),
    );
    ok(losses[0][0] === Infinity && Number.isFinite(losses[1][0]), `${losses}`);
  });

  on("bceWithLogits() and its gradient are exact", async () => {
    const x = tensor(BINARY.map(([x]) => x));
    const target = tensor(BINARY.map(([, t]) => t));
    const loss = bceWithLogits(x, target, { reduction: "none" });
    const [values, slopes] = await readAll(withSlope(loss, x));
    close(values, BINARY.map(bceOf), 2e-6, "loss");
    close(slopes, BINARY.map(([x, t]) => sigmoidOf(x) - t), 2e-6, "gradient");
  });

  on(
    "diceLoss(), softmaxDice() and sigmoidFocalLoss() are exact, their gradients finite,",
    async () => {
      const x = tensor(BINARY.map(([x]) => x), [1, BINARY.length]);
      const target = tensor(BINARY.map(([, t]) => t), [1, BINARY.length]);
      const rows = tensor(ROWS.flat(), [ROWS.length, CLASSES]);
      const classes = tensor(Uint32Array.from(TARGETS));
      const results = await readAll([
        ...withSlope(diceLoss(x, target), x),
        ...withSlope(sigmoidFocalLoss(x, target), x),
        ...withSlope(softmaxDice(rows, classes), rows),
      ]);
      const p = BINARY.map(([x]) => sigmoidOf(x));
      const t = BINARY.map(([, t]) => t);
      const dice = 1 - (2 * total(p.map((v, i) => v * t[i])) + 1) / (total(p) + total(t) + 1);
      const focal = total(BINARY.map((one, i) => {
        const miss = p[i] * (1 - t[i]) + (1 - p[i]) * t[i];
        return bceOf(one) * miss ** 2 * (0.25 * t[i] + 0.75 * (1 - t[i]));
      })) / BINARY.length;
      const soft = ROWS.map((row) => softmaxOf(row).p);
      const perClass = Array.from({ length: CLASSES }, (_, c) => {
        const hot = TARGETS.map((y) => Number(y === c));
        const shared = total(soft.map((row, i) => row[c] * hot[i]));
        const sizes = total(soft.map((row, i) => row[c] ** 2 + hot[i]));
        return 1 - (2 * shared + 1e-5) / (sizes + 1e-5);
      });
      close(results[0], [dice], 2e-6, "dice");
      close(results[2], [focal], 2e-6, "focal");
      close(results[4], [total(perClass) / CLASSES], 1e-5, "softmax dice");
      for (const k of [1, 3, 5]) {
        ok(results[k].every(Number.isFinite), `gradient ${k}: ${results[k]}`);
      }
    },
  );
}

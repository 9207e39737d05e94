import { add, gradients, mul, padZeros, readAll, type Tensor, tensor } from "../engine/mod.ts";
import { show } from "../engine/shape.ts";
import { Random } from "../train/data/random.ts";
import type { Bounded } from "./bounded.ts";
import { onSchedule, unfused } from "./engine_modes.ts";
import { interpret } from "./graph_interpreter.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { randomGraph } from "./random_graphs.ts";
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";

/** Graphs that each schedule runs: fewer where kernels take long to compile. */
const GRAPHS: Readonly<Record<typeof SCHEDULES[number], number>> = {
  "cpu": 100,
  "cpu-nosubgroup": 40,
  "gpu": 40,
  "gpu-nosubgroup": 40,
};
const ALL = Object.values(GRAPHS).reduce((a, b) => a + b);

/** Graphs that run at a time: waiting costs more than computing. */
const TOGETHER = 20;

/** A graph, its outputs and all gradients of its loss. */
function caseOf(seed: number) {
  const graph = randomGraph(new Random(seed));
  const { leaves, outputs, loss } = graph;
  const wanted = leaves.filter(({ dtype }) => dtype === "f32");
  const slopes = gradients(loss, wanted);
  const reached = wanted.filter((_, i) => slopes[i]);
  const gradient = slopes.filter((g) => g !== undefined);
  return { seed, ...graph, reached, gradient, targets: [...outputs, loss, ...gradient] };
}

type Case = ReturnType<typeof caseOf>;

/** The first element that is further off than the bound, in words. */
function fault(t: Tensor, got: ArrayLike<number>, { value, error }: Bounded): string | undefined {
  const wrong = value.findIndex((v, i) => !(Math.abs(got[i] - v) <= error[i] + 1e-30));
  if (wrong < 0) return undefined;
  return `${t.op} ${show(t.shape)}, element ${wrong}: ${got[wrong]} instead of ${value[wrong]} ` +
    `± ${error[wrong]}`;
}

/** How much of what was compared was compared sharply. */
class Sharpness {
  private all = 0;
  private sharp = 0;

  add({ value, error }: Bounded): void {
    this.all += value.length;
    this.sharp += value.filter((v, i) => error[i] <= 1e-4 * (1 + Math.abs(v))).length;
  }

  check(): void {
    ok(this.sharp > 0.9 * this.all, `${this.sharp} of ${this.all} bounds mean something`);
  }
}

let seed = 0;
for (const schedule of SCHEDULES) {
  const seeds = Array.from({ length: GRAPHS[schedule] }, () => seed++);
  // Kernels of single ops hardly differ between schedules.
  const also = schedule === "cpu" ? ", fused or not," : "";
  Deno.test(`random graphs give the interpreter's values${also} on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const sharpness = new Sharpness();
      for (let first = 0; first < seeds.length; first += TOGETHER) {
        const cases = seeds.slice(first, first + TOGETHER).map(caseOf);
        const targets = cases.flatMap(({ targets }) => targets);
        const fused = await readAll(targets);
        const apart = also ? await unfused(() => readAll(targets)) : fused;
        const names = cases.flatMap(({ seed, targets }) => targets.map(() => seed));
        const bounds = cases.flatMap(({ targets }) => interpret(targets));
        bounds.forEach((bound, i) => {
          sharpness.add(bound);
          for (const [how, results] of [["fused", fused], ["unfused", apart]] as const) {
            const found = fault(targets[i], results[i], bound);
            ok(!found, `graph ${names[i]}, ${how}: ${found}`);
          }
        });
      }
      sharpness.check();
    }));
}

Deno.test("pad() of a single element gives it to one lane of a vector", async () => {
  const x = tensor([3]);
  const [four, eight] = await readAll([
    padZeros(add(x, 1), [[2, 1]]),
    padZeros(mul(x, x), [[1, 6]]),
  ]);
  deepEqual([...four], [0, 0, 4, 0]);
  deepEqual([...eight], [0, 9, 0, 0, 0, 0, 0, 0]);
});

const STEP = 1e-6;

/** All tensors below one that gradients do not pass. */
function barriers(t: Tensor, found = new Set<Tensor>()): Set<Tensor> {
  if (t.op === "detach") found.add(t);
  else for (const x of t.inputs) barriers(x, found);
  return found;
}

/** The loss at the leaves moved by `h` along a direction, with what is detached as it was. */
function lossAt({ loss, reached }: Case, directions: readonly Float64Array[], h: number): number {
  const detached = [...barriers(loss)];
  const still = interpret(detached).map(({ value }, k) => [detached[k], value] as const);
  const moved = reached.map((leaf, k) =>
    [leaf, Float64Array.from(leaf.host!, (v, i) => v + h * directions[k][i])] as const
  );
  return interpret([loss], new Map([...still, ...moved]))[0].value[0];
}

Deno.test("gradients() of random graphs agree with differences in float64", () => {
  let compared = 0;
  for (let seed = 0; seed < ALL; seed++) {
    const one = caseOf(seed);
    const random = new Random(seed).fork("direction");
    const directions = one.reached.map(({ size }) =>
      Float64Array.from({ length: size }, () => random.uniform(-1, 1))
    );
    const [below, here, above] = [-STEP, 0, STEP].map((h) => lossAt(one, directions, h));
    // At a kink or a jump both sides differ, and gradients are what convention says.
    const sides = [(here - below) / STEP, (above - here) / STEP];
    const scale = 1 + Math.abs(here) + Math.max(...sides.map(Math.abs));
    if (Math.abs(sides[0] - sides[1]) > 1e-5 * scale) continue;
    const slope = interpret(one.gradient).reduce(
      (sum, { value }, k) => sum + value.reduce((s, v, i) => s + v * directions[k][i], 0),
      0,
    );
    const numeric = (above - below) / (2 * STEP);
    ok(Math.abs(slope - numeric) <= 1e-5 * scale, `graph ${seed}: ${slope}, not ${numeric}`);
    compared++;
  }
  ok(compared > 0.8 * ALL, `${compared} graphs are smooth`);
});

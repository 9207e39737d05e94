import { explainPlan, levelOf } from "../engine/debug.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import { makePlan } from "../engine/compile/plan.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { matmul, relu, type Tensor, tensor } from "../engine/mod.ts";
import { heavyRules } from "../engine/primitives.ts";
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";

const SIDE = 16;

/** Three products one after the other, so that the third can lie where the first has been. */
function chain(): Tensor {
  const x = tensor(new Float32Array(SIDE * SIDE), [SIDE, SIDE]);
  return relu(matmul(matmul(matmul(x, x), x), x));
}

async function planned() {
  const graph = canonicalise([chain()]);
  const profile = await activeProfile();
  const plan = makePlan({ graph, reads: 1, profile, alignment: 64, rules: heavyRules });
  return { plan, explain: (level: 0 | 1 | 2 | 3 | 4) => explainPlan("plan 7", plan, 5, level) };
}

Deno.test("levelOf() reads the values of DEBUG", () => {
  const values = [undefined, "", "0", "1", "3", "9", "-2", "true"];
  deepEqual(values.map(levelOf), [0, 0, 0, 1, 3, 4, 0, 1]);
});

Deno.test("explainPlan() tells more with each level", async () => {
  const { plan, explain } = await planned();
  equal(explain(0), "");
  match(
    explain(1),
    /^plan 7: 5 nodes, \d+ kernels, \d+ distinct sources, arena \d+ bytes, uploads 1024 bytes, peak \d+ bytes$/,
  );
  const kernels = explain(2).split("\n");
  equal(kernels.length, 1 + plan.steps.length);
  match(kernels[1], /^ {2}0 .*grid \d+x\d+x\d+, .*upload@0:1024.*arena@0:1024/);
  ok(!explain(2).includes("@compute"));
  for (const { kernel } of plan.steps) ok(explain(3).includes(kernel.source.trimEnd()));
  ok(!explain(3).includes("arena @"));
  const tenancies = explain(4).split("\n").filter((line) => line.startsWith("  arena @"));
  equal(tenancies.length, plan.tenancies.length);
  match(tenancies[0], /^ {2}arena @0, 1024 bytes, kernels 0 to 1: matmul .*16.*16/);
});

Deno.test("Plan.tenancies never overlap in time and place, and reach the arena's end", async () => {
  const { plan: { tenancies, arenaBytes, steps } } = await planned();
  ok(tenancies.length >= 3);
  for (const [i, a] of tenancies.entries()) {
    ok(a.first <= a.last && a.last < steps.length);
    for (const b of tenancies.slice(i + 1)) {
      const together = a.first <= b.last && b.first <= a.last;
      const apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      ok(apart || !together, `${a.name} and ${b.name}`);
    }
  }
  equal(Math.max(...tenancies.map(({ offset, bytes }) => offset + bytes)), arenaBytes);
});

Deno.test("DEBUG=1 writes a line for each plan to standard error, and nothing when off", async () => {
  const program = `import { add, read, tensor } from "./engine/mod.ts";
    await read(add(tensor([1, 2]), 1));
    await read(add(tensor([3, 4]), 1));
    Deno.exit(0);`;
  const run = async (level: string) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-check", program],
      cwd: new URL("../", import.meta.url),
      env: { DEBUG: level },
    }).output();
    equal(code, 0);
    return new TextDecoder().decode(stderr).split("\n").filter((line) => line.startsWith("plan "));
  };
  deepEqual(await run(""), []);
  const [line, ...more] = await run("1");
  match(line, /^plan 1: \d+ nodes, 1 kernels, 1 distinct sources, arena \d+ bytes, uploads/);
  deepEqual(more, []);
});

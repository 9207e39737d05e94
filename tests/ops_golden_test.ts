import { ok, strictEqual as equal } from "node:assert/strict";
import { compareTensor, passes, valuesRule } from "../train/parity/compare.ts";
import { loadFixture } from "../train/parity/fixture.ts";
import { opCases, runCase } from "../train/parity/kinds/ops.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { sharedPath, sharedTest } from "./shared.ts";

for (const schedule of SCHEDULES) {
  sharedTest(
    `operators and their gradients agree with PyTorch on ${schedule}`,
    (t) =>
      onSchedule(schedule, async () => {
        const fixture = await loadFixture(sharedPath("golden"), "ops.manifest.json");
        const cases = opCases(fixture);
        equal(cases.length, 194);
        for (const op of cases) {
          await t.step(op.name, async () => {
            const produced = await runCase(fixture, op);
            for (const part of ["out", ...op.grads.map((name) => `grad_${name}`)]) {
              const name = `${op.name}/${part}`;
              const spec = fixture.manifest.outputs![name];
              const golden = fixture.stored.get(name);
              const c = compareTensor("ops", name, spec, golden, produced.get(name), valuesRule);
              ok(
                passes(c),
                c.failure ?? `${name}: ${c.measure} off by ${c.error} > ${c.tolerance}`,
              );
            }
          });
        }
      }),
  );
}

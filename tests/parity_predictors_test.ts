import { ok } from "node:assert/strict";
import { describe, runFolder } from "../train/parity/run.ts";
import { sharedPath, sharedTest } from "./shared.ts";

sharedTest("predictors agree with the reference implementation", async (t) => {
  let rows = 0;
  for await (const row of runFolder(sharedPath("golden-predictors"))) {
    rows++;
    await t.step(row.fixture, () => ok(row.passed, describe(row)));
  }
  ok(rows >= 24, `${rows} fixtures were found`);
});

import { ok } from "node:assert/strict";
import { describe, runFolder } from "../train/parity/run.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { sharedPath, sharedTest } from "./shared.ts";

/** Small models; the operators have a test of their own. */
const SMALL = ["*tiny*", "mask_decoder_plain", "sss_*"];
/** The official size of the model, at sizes that fit a test. */
const OFFICIAL = ["prompt_encoder_hiera_t", "memory_attention_hiera_t", "encoder_hiera_t_256"];
/** One fixture per path through the model, on every schedule. */
const PATHS = ["encoder_tiny_64", "track_tiny_video_defaults", "grads_tiny_video2", "sss_dfe_17"];

async function checkAll(t: Deno.TestContext, patterns: readonly string[]): Promise<void> {
  let rows = 0;
  for (const only of patterns) {
    for await (const row of runFolder(sharedPath("golden"), only)) {
      rows++;
      await t.step(row.fixture, () => ok(row.passed, describe(row)));
    }
  }
  ok(rows >= patterns.length, `${rows} fixtures for ${patterns.length} patterns`);
}

sharedTest("models agree with the reference implementation", (t) => checkAll(t, SMALL));

sharedTest(
  "models of official size agree with the reference implementation",
  (t) => checkAll(t, OFFICIAL),
);

for (const schedule of SCHEDULES) {
  sharedTest(
    `every path through the model agrees on ${schedule}`,
    (t) =>
      onSchedule(schedule, async () => {
        await checkAll(t, PATHS);
      }),
  );
}

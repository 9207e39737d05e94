import { runtime } from "../engine/mod.ts";
import { sssConfig } from "../model/sss/config.ts";
import { createPhantom } from "../train/data/phantom.ts";
import { defaults } from "../train/run/options.ts";
import { Trainer } from "../train/trainer.ts";
import { ok, strictEqual as equal } from "node:assert/strict";

/** By then each form of a step has run, and each volume has been searched. */
const WARM = 12;
const STEPS = 42;

Deno.test(`SSS keeps GPU memory, buffers and bind groups flat over ${STEPS - WARM} steps`, async () => {
  const rt = await runtime();
  const data = createPhantom({ size: 32, train: 2, labeled: 1, validation: 1, test: 1 });
  const sss = sssConfig({ teacherWarmup: 0, pcswEvery: STEPS });
  const options = { ...defaults.train, size: 32, steps: STEPS, batchLabelled: 1, sss };
  const trainer = await Trainer.create(options, data);
  let steady = { ...rt.counters };
  let images = 0;
  while (trainer.position < STEPS) {
    images += (await trainer.step()).images;
    if (trainer.position === WARM) steady = { ...rt.counters };
  }
  const { counters } = rt;
  ok(images > 2 * STEPS, "unlabelled images took part");
  equal(counters.liveBytes, steady.liveBytes);
  equal(counters.buffersCreated, steady.buffersCreated);
  equal(counters.bindGroupsCreated, steady.bindGroupsCreated);
});

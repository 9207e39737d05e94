import {
  deepStrictEqual as deepEqual,
  match,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { openCheckpoint } from "../engine/checkpoint/mod.ts";
import { writeSafetensors } from "../engine/safetensors.ts";
import {
  type Checkpoint,
  loadCheckpoint,
  RUN_FORMATS,
  saveCheckpoint,
} from "../train/run/checkpoint.ts";
import { differences, type RunConfig } from "../train/run/config.ts";
import { MetricsLog } from "../train/run/metrics_log.ts";
import { defaults } from "../train/run/options.ts";
import { trainedSize } from "../train/run/published_weights.ts";
import { RunDirectory, writeJson } from "../train/run/run_dir.ts";
import { withFolder } from "./temporary_folder.ts";

const config: RunConfig = {
  data: {
    ...{ source: "phantom", labeled: 2, spacing: null },
    ...{ name: "phantom", classes: ["RV", "Myo"], hash: "ab12" },
  },
  train: defaults.train,
  schedule: defaults.schedule,
};

const checkpoint: Checkpoint = {
  config,
  step: 7,
  validation: { step: 5, best: { step: 5, dice: 0.1 + 0.2 } },
  trainer: {
    tensors: new Map([
      ["weights.a", { dtype: "F32", shape: [2, 1], data: Float32Array.of(0.1, -0) }],
      ["counters", { dtype: "U32", shape: [2], data: Uint32Array.of(1, 2 ** 32 - 1) }],
      ["prompts", { dtype: "U8", shape: [3], data: Uint8Array.of(0, 7, 255) }],
    ]),
    state: { sampler: [3, 1, 2], ema: 1 / 3, nested: { "a b": null } },
  },
};

const text = (path: string) => Deno.readTextFile(path);

Deno.test("loadCheckpoint() gives back all that saveCheckpoint() was given", () =>
  withFolder(async (folder) => {
    const path = `${folder}/last.safetensors`;
    await saveCheckpoint(path, checkpoint);
    const { trainer: { tensors, state }, ...rest } = await loadCheckpoint(path);
    const { trainer, ...expected } = checkpoint;
    deepEqual(rest, expected);
    deepEqual(state, trainer.state);
    deepEqual(new Map([...tensors].sort()), new Map([...trainer.tensors].sort()));
  }));

Deno.test("loadCheckpoint() throws a sentence when the file is missing, damaged or foreign", () =>
  withFolder(async (folder) => {
    const path = `${folder}/last.safetensors`;
    await rejects(loadCheckpoint(path), { name: "UserError", message: /last.*no such file/ });
    await saveCheckpoint(path, checkpoint);
    await Deno.truncate(path, 900);
    await rejects(loadCheckpoint(path), { name: "UserError", message: /last.*not a sound/ });
    await writeSafetensors(path, checkpoint.trainer.tensors);
    await rejects(loadCheckpoint(path), { name: "UserError", message: /no checkpoint of a run/ });
    for (const run of ["", "{", "null", "{}", '{"config":{"train":{"size":33}}}']) {
      await writeSafetensors(path, checkpoint.trainer.tensors, { format: RUN_FORMATS.train, run });
      const message = `${path} is damaged: it does not say of what run it is.`;
      await rejects(loadCheckpoint(path), { name: "UserError", message });
      using file = await openCheckpoint(path);
      throws(() => trainedSize(file), { name: "UserError", message });
    }
  }));

Deno.test("differences() is empty when only the place of the data and the schedule differ", () => {
  const moved: RunConfig = {
    data: { ...config.data, source: "elsewhere" },
    train: structuredClone(config.train),
    schedule: { valEvery: 9, checkpointEvery: 9, evalLimit: 9 },
  };
  deepEqual(differences(config, moved), []);
});

Deno.test("differences() names options and both values when weights would differ", () => {
  const { train, data } = config;
  const other: RunConfig = {
    ...config,
    data: { ...data, hash: "cd34", spacing: [10, 1.5, 1.5] },
    train: {
      ...train,
      seed: 4,
      batchLabelled: 1,
      batchUnlabelled: 1,
      sss: { ...train.sss, conf: 0.7 },
    },
  };
  deepEqual(differences(config, other), [
    "--spacing is none in the checkpoint and 10,1.5,1.5 here",
    "the hash of the data is ab12 in the checkpoint and cd34 here",
    "--seed is 0 in the checkpoint and 4 here",
    "--batch is 4 in the checkpoint and 1 here",
    "--unlabelled-batch is 2 in the checkpoint and 1 here",
    "sss.conf is 0 in the checkpoint and 0.7 here",
  ]);
});

Deno.test("RunDirectory.loadCheckpoint() throws the differences when the configuration is another", () =>
  withFolder(async (folder) => {
    const run = new RunDirectory(folder);
    await saveCheckpoint(run.checkpoint("last"), checkpoint);
    equal((await run.loadCheckpoint("last", config)).step, 7);
    const other = { ...config, train: { ...config.train, method: "fixmatch" as const } };
    await rejects(run.loadCheckpoint("last", other), {
      name: "UserError",
      message: `Cannot continue from ${folder}/last.safetensors: --method is sss in the ` +
        "checkpoint and fixmatch here.",
    });
  }));

Deno.test("RunDirectory.create() numbers runs when no folder is given", () =>
  withFolder(async (folder) => {
    const before = Deno.cwd();
    Deno.chdir(folder);
    try {
      equal((await RunDirectory.create(undefined, "phantom-sss-0")).path, "runs/phantom-sss-0-1");
      equal((await RunDirectory.create(undefined, "phantom-sss-0")).path, "runs/phantom-sss-0-2");
    } finally {
      Deno.chdir(before);
    }
  }));

Deno.test("RunDirectory.create() throws when the folder holds something", () =>
  withFolder(async (folder) => {
    const path = `${folder}/new/run`;
    const run = await RunDirectory.create(path, "");
    equal((await RunDirectory.create(path, "")).path, path);
    await Deno.writeTextFile(`${path}/notes`, "");
    await rejects(RunDirectory.create(path, ""), { message: /has notes in it/ });
    await writeJson(run.config, config);
    await rejects(RunDirectory.create(path, ""), { message: /continue it with --resume/ });
    await rejects(RunDirectory.create(run.config, ""), { name: "UserError" });
  }));

Deno.test("RunDirectory reads its configuration and throws a sentence when it is damaged", () =>
  withFolder(async (folder) => {
    await rejects(RunDirectory.open(folder), {
      name: "UserError",
      message: /config.json does not/,
    });
    const run = new RunDirectory(folder);
    await writeJson(run.config, config);
    deepEqual(await (await RunDirectory.open(`${folder}/`)).readConfig(), config);
    await rejects(run.readConfig("finetune"), {
      name: "UserError",
      message: `${folder} holds a run of \`deno task train\`, not of \`deno task finetune\`.`,
    });
    for (
      const [content, reason] of [["{", /Cannot read/], ["null", /no "data"/], ["[]", /no "d/]]
    ) {
      await Deno.writeTextFile(run.config, content as string);
      await rejects(run.readConfig(), { name: "UserError", message: reason as RegExp });
    }
  }));

Deno.test("RunDirectory.removeLeftovers() removes unfinished files only", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/last.safetensors.12.tmp`, "half");
    await Deno.writeTextFile(`${folder}/last.safetensors`, "whole");
    await new RunDirectory(folder).removeLeftovers();
    deepEqual([...Deno.readDirSync(folder)].map((e) => e.name), ["last.safetensors"]);
  }));

Deno.test("MetricsLog.open() cuts off what came after the checkpoint, and half lines", () =>
  withFolder(async (folder) => {
    const path = `${folder}/metrics.jsonl`;
    {
      using log = await MetricsLog.open(path, 0);
      for (const step of [1, 2, 2, 3]) await log.add({ step, loss: step / 2 });
    }
    const lines = (await text(path)).split("\n");
    equal(lines.length, 5);
    await Deno.writeTextFile(path, '{"step":3,"lo', { append: true });
    {
      using log = await MetricsLog.open(path, 2);
      equal(await text(path), lines.slice(0, 3).join("\n") + "\n");
      await log.add({ step: 3, loss: 1.5 });
    }
    equal(await text(path), lines.join("\n"));
    (await MetricsLog.open(path, 9))[Symbol.dispose]();
    equal(await text(path), lines.join("\n"));
  }));

Deno.test("MetricsLog.open() names the file when it cannot be written", () =>
  rejects(MetricsLog.open("missing/metrics.jsonl", 0), {
    name: "UserError",
    message: "Cannot write missing/metrics.jsonl: its folder does not exist.",
  }));

Deno.test("MetricsLog.open() throws when another process has the run open", () =>
  withFolder(async (folder) => {
    const path = `${folder}/metrics.jsonl`;
    const source = `import { MetricsLog } from ${
      JSON.stringify(new URL("../train/run/metrics_log.ts", import.meta.url).href)
    };
      await MetricsLog.open(${JSON.stringify(path)}, 0).catch((e) => console.log(e.message));`;
    using _log = await MetricsLog.open(path, 0);
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", source] }).output();
    match(
      new TextDecoder().decode(stdout),
      /^Another process is working on this run: .* is locked\.\n$/,
    );
  }));

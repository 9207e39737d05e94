/** `deno task train --checkpoint`: training from SAM-2 weights, with parts frozen. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { saveWeights } from "../engine/checkpoint/mod.ts";
import { initialise } from "../engine/nn/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { SssModel } from "../model/sss/sss_model.ts";
import { openAcdc } from "../train/data/acdc.ts";
import { startFrom } from "../train/run/start_weights.ts";
import { defaults } from "../train/run/options.ts";
import type { CreateTrainer } from "../train/run/train_run.ts";
import { Trainer } from "../train/trainer.ts";
import { fake, inFolder, trainWith } from "./run_commands.ts";
import { writeSam20 } from "./sam20_file.ts";

async function writeWeights(path: string): Promise<Sam2> {
  const model = new Sam2(CONFIGS.nano);
  await initialise(model, 11);
  await saveWeights(model, path);
  return model;
}

Deno.test("runTraining() starts a new run from --checkpoint, and a continued one from its own", () =>
  inFolder(async (folder) => {
    const path = `${folder}/nano.pt`;
    await writeWeights(path);
    const started: boolean[] = [];
    const create: CreateTrainer = (options, data, start) => {
      started.push(start !== undefined);
      return fake(options, data);
    };
    const args = ["--data", `${folder}/data`, "--steps", "2", "--freeze", "trunk,neck"];
    const run = `${folder}/run`;
    equal((await trainWith([...args, "--checkpoint", path, "--out", run], create)).code, 0);
    const { train } = JSON.parse(await Deno.readTextFile(`${run}/config.json`));
    deepEqual([train.start, train.frozen], [path, ["trunk", "neck"]]);
    await Deno.remove(path);
    equal((await trainWith(["--resume", run], create)).code, 0);
    deepEqual(started, [true, false]);
    await rejects(trainWith(["--resume", run, "--freeze", "memory"], create), {
      name: "UserError",
      message: /--freeze is trunk,neck in the checkpoint and memory here\.$/,
    });
    await rejects(trainWith(["--resume", run, "--checkpoint", path], create), {
      name: "UserError",
      message: "--resume goes on with the weights of the run; --checkpoint cannot go with it.",
    });
  }));

Deno.test("runTraining() takes the model of SAM 2.0 when --checkpoint is of that version", () =>
  inFolder(async (folder) => {
    const path = `${folder}/sam2_hiera_tiny.safetensors`;
    await writeSam20(path);
    const args = ["--data", `${folder}/data`, "--steps", "1", "--model", "t"];
    const run = `${folder}/run`;
    const versions: unknown[] = [];
    const create: CreateTrainer = (options, data) => {
      versions.push(options.samVersion);
      return fake(options, data);
    };
    equal((await trainWith([...args, "--checkpoint", path, "--out", run], create)).code, 0);
    equal((await trainWith(["--resume", run], create)).code, 0);
    equal((await trainWith([...args, "--out", `${folder}/other`], create)).code, 0);
    deepEqual(versions, ["2.0", "2.0", undefined]);
    const lost = trainWith([...args, "--checkpoint", `${folder}/none.pt`], create);
    await rejects(lost, { name: "UserError", message: /none\.pt: there is no such file\.$/ });
  }));

Deno.test("startFrom() gives SAM-2's weights, and says when they are of another model", () =>
  inFolder(async (folder) => {
    const path = `${folder}/nano.safetensors`;
    const model = await writeWeights(path);
    const student = new SssModel({ ...CONFIGS.nano, imageSize: 64 }, 3);
    await startFrom(student, path);
    const values = new Map(student.namedParameters());
    for (const [key, { host }] of model.namedParameters()) deepEqual(values.get(key)?.host, host);
    const { noObjEmbedSpatial: _, ...rest } = CONFIGS.nano;
    const older = new SssModel({ ...rest, noObjEmbedSpatial: false }, 3);
    await rejects(startFrom(older, path), {
      name: "UserError",
      message: `${path} is of another model than the one chosen with --model: 1 keys do not fit, ` +
        'the first is "no_obj_embed_spatial".',
    });
  }));

Deno.test("Trainer.create() has the given weights and no moments for frozen parts", () =>
  inFolder(async (folder) => {
    const path = `${folder}/nano.safetensors`;
    await writeWeights(path);
    const data = await openAcdc(`${folder}/data`, { labeled: 1 });
    const options = {
      ...defaults.train,
      method: "supervised",
      size: 32,
      frozen: ["trunk"],
    } as const;
    const trainer = await Trainer.create(options, data, (model) => startFrom(model, path));
    const { tensors } = await trainer.save();
    const same = new Sam2(CONFIGS.nano);
    await initialise(same, 11);
    for (const [key, { host }] of same.namedParameters()) {
      deepEqual(tensors.get(`model.${key}`)?.data, host, key);
      deepEqual(tensors.get(`ema.${key}`)?.data, host, key);
    }
    const moments = [...tensors.keys()].filter((key) => key.startsWith("first."));
    ok(moments.length > 0);
    ok(moments.every((key) => !key.startsWith("first.image_encoder.trunk.")));
  }));

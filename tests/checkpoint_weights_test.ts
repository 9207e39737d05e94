/** Weights in modules, configurations told from keys, and the differences that are reported. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import {
  type CheckpointFile,
  loadWeights,
  openCheckpoint,
  saveWeights,
} from "../engine/checkpoint/mod.ts";
import { initialise, Linear, MLP, stateDict, StateDictError } from "../engine/nn/mod.ts";
import { configOf } from "../model/checkpoint_config.ts";
import { type ConfigName, CONFIGS, type Sam2Config } from "../model/config.ts";
import { readOfficialConfig } from "../model/official_config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { floats, tensorsPickle, torchZip } from "./checkpoint_files.ts";
import { sharedPath, sharedTest } from "./shared.ts";
import { withFolder } from "./temporary_folder.ts";

/** Keys and shapes of a model, as a checkpoint gives them. */
const shapesOf = (config: Sam2Config) => new Map(new Sam2(config).namedParameters());

for (const name of Object.keys(CONFIGS) as ConfigName[]) {
  Deno.test(`configOf() tells ${name} from its keys and shapes`, () => {
    equal(configOf(shapesOf(CONFIGS[name])), name);
  });
}

Deno.test("configOf() gives nothing when the model is another", () => {
  const { trunk } = CONFIGS["sam2.1_hiera_t"];
  for (
    const other of [
      { ...CONFIGS["sam2.1_hiera_t"], dModel: 128, memDim: 32 },
      { ...CONFIGS["sam2.1_hiera_t"], trunk: { ...trunk, stages: [1, 2, 7, 3] } },
      { ...CONFIGS["sam2.1_hiera_t"], trunk: { ...trunk, posEmbedSize: [8, 8] as const } },
    ]
  ) equal(configOf(shapesOf(other)), undefined);
  equal(configOf(new Map([["w", { shape: [3] }]])), undefined);
  equal(configOf(new Map()), undefined);
});

Deno.test("loadWeights() gives back what saveWeights() wrote", () =>
  withFolder(async (folder) => {
    const from = new MLP(3, 17, 2, 3);
    await initialise(from, 5);
    for (const path of [`${folder}/model.pt`, `${folder}/model.safetensors`]) {
      await saveWeights(from, path);
      const to = new MLP(3, 17, 2, 3);
      deepEqual(await loadWeights(to, path), { missing: [], unexpected: [], mismatched: [] });
      deepEqual(await stateDict(to), await stateDict(from));
    }
  }));

Deno.test("openCheckpoint() gives a file that says so where it is read after it was closed", () =>
  withFolder(async (folder) => {
    const module = new Linear(3, 2);
    await initialise(module, 5);
    for (const path of [`${folder}/model.pt`, `${folder}/model.safetensors`]) {
      await saveWeights(module, path);
      const file = await openCheckpoint(path);
      for (let i = 0; i < 2; i++) file[Symbol.dispose]();
      await rejects(loadWeights(module, file), {
        message: `${path} has been closed: nothing can be read of it.`,
      });
    }
  }));

const linear = (tensors: Parameters<typeof tensorsPickle>[0], values = floats(1, 2, 3, 4, 5, 6)) =>
  openCheckpoint(torchZip(tensorsPickle(tensors), { "0": values }));

Deno.test("loadWeights() converts other types to f32", async () => {
  const bytes = Uint8Array.of(
    0xc0,
    0x3f,
    0x00,
    0xc0,
    0x40,
    0x40,
    0x00,
    0x00,
    0x80,
    0x7f,
    0xc0,
    0x7f,
  );
  using file = await linear({ weight: { storage: "BFloat16Storage", shape: [3, 2] } }, bytes);
  const module = new Linear(2, 3, { bias: false });
  await loadWeights(module, file);
  deepEqual([...module.weight.host!], [1.5, -2, 3, 0, Infinity, NaN]);
});

Deno.test("loadWeights() names what does not fit, and takes what fits when asked", async () => {
  using file = await linear({
    weight: { shape: [3, 2] },
    extra: { shape: [6] },
  });
  const module = new Linear(2, 3);
  await rejects(loadWeights(module, file), {
    name: "StateDictError",
    message: "the checkpoint does not fit the model: 1 missing (bias); 1 unexpected (extra).",
  });
  equal(module.weight.host, undefined);
  const difference = await loadWeights(module, file, { allowPartial: true });
  deepEqual(difference, { missing: ["bias"], unexpected: ["extra"], mismatched: [] });
  deepEqual([...module.weight.host!], [1, 2, 3, 4, 5, 6]);
});

Deno.test("loadWeights() refuses another shape even when a part is allowed", async () => {
  using file = await linear({ weight: { shape: [2, 3] } });
  await rejects(loadWeights(new Linear(2, 3), file, { allowPartial: true }), {
    name: "StateDictError",
    message: /1 of another shape \(weight: \[2, 3\] instead of \[3, 2\]\)/,
  });
});

/** A checkpoint with the shapes of a model, and zeros. */
function zeros(config: Sam2Config, rename = (key: string) => key): CheckpointFile {
  const tensors = [...shapesOf(config)].map(([key, { shape, size }]) => {
    const read = () => Promise.resolve(new Uint8Array(4 * size));
    return [rename(key), { dtype: "float32", shape, read }] as const;
  });
  return {
    name: "zeros",
    format: "safetensors",
    tensors: new Map(tensors),
    others: [],
    metadata: {},
    [Symbol.dispose]: () => {},
  };
}

async function message(config: Sam2Config, file: CheckpointFile): Promise<string> {
  try {
    await loadWeights(new Sam2(config), file);
  } catch (error) {
    ok(error instanceof StateDictError);
    return error.message;
  }
  return "";
}

Deno.test("loadWeights() groups the difference by modules when there is much of it", async () => {
  equal(
    await message(CONFIGS["sam2.1_hiera_t"], zeros(CONFIGS["sam2.1_hiera_s"])),
    "zeros does not fit the model: 2 missing (image_encoder.trunk.blocks.10.proj.weight, " +
      "image_encoder.trunk.blocks.10.proj.bias); 50 unexpected (image_encoder.trunk: 50); " +
      "22 of another shape (image_encoder.trunk: 22).",
  );
});

Deno.test("loadWeights() tells the prefix when all keys are there behind one", async () => {
  const config = CONFIGS.nano;
  const text = await message(config, zeros(config, (key) => `module.${key}`));
  ok(text.endsWith('; all keys of the model are there behind the prefix "module.".'), text);
  ok(text.length < 1000, text);
});

sharedTest("loadWeights() reads a checkpoint with the official layout into Sam2", async () => {
  const json = await Deno.readTextFile(sharedPath("golden/config_tiny.json"));
  const model = new Sam2(readOfficialConfig(JSON.parse(json)));
  using file = await openCheckpoint(sharedPath("golden/pt/tiny_full.pt"));
  await loadWeights(model, file);
  for (const [key, { host, size }] of model.namedParameters()) {
    equal(host?.length, size, key);
    const bytes = await file.tensors.get(key)!.read();
    deepEqual(new Uint8Array(host!.buffer), bytes, key);
  }
});

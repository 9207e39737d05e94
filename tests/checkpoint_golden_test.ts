/** Files that `torch.save` wrote, whole, damaged and malicious, and real checkpoints. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { crc32 } from "node:zlib";
import { type CheckpointFile, openCheckpoint, toFloat32 } from "../engine/checkpoint/mod.ts";
import { UserError } from "../engine/errors.ts";
import { hasShared, sharedPath, sharedTest } from "./shared.ts";

interface ExpectedTensor {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly crc32_of_contiguous_le_bytes: number;
  readonly first: readonly number[];
  /** Null where there are no values. */
  readonly last: number | null;
  readonly sum_f64: number;
}

interface Expected {
  readonly ok: boolean | "either";
  readonly tensors?: Readonly<Record<string, ExpectedTensor>>;
}

const FOLDER = "golden/pt";

const files = hasShared()
  ? [...Deno.readDirSync(sharedPath(FOLDER))].map(({ name }) => name)
    .filter((name) => name.endsWith(".pt")).sort()
  : [];

async function expected(name: string): Promise<Expected> {
  return JSON.parse(await Deno.readTextFile(sharedPath(`${FOLDER}/${name}.expected.json`)));
}

async function compare(file: CheckpointFile, wanted: Readonly<Record<string, ExpectedTensor>>) {
  deepEqual([...file.tensors.keys()], Object.keys(wanted));
  for (const [name, tensor] of file.tensors) {
    const { shape, dtype, first, last, sum_f64, crc32_of_contiguous_le_bytes } = wanted[name];
    deepEqual([tensor.shape, tensor.dtype], [shape, dtype], name);
    const bytes = await tensor.read();
    equal(crc32(bytes), crc32_of_contiguous_le_bytes, name);
    const values = toFloat32(tensor.dtype, bytes);
    ok(values, name);
    deepEqual([...values.slice(0, first.length)], first.map(Math.fround), name);
    equal(values.at(-1) ?? null, last === null ? null : Math.fround(last), name);
    const sum = values.reduce((a, b) => a + b, 0);
    // Values of f64 are rounded to f32 first.
    ok(Math.abs(sum - sum_f64) <= 1e-6 * Math.max(1, values.length), `${name}: ${sum}`);
  }
}

/** Opens a file and reads all of it; what it throws must be a sentence. */
async function refusal(path: string): Promise<string> {
  try {
    using file = await openCheckpoint(path);
    for (const tensor of file.tensors.values()) await tensor.read();
  } catch (error) {
    ok(error instanceof UserError, String(error));
    return error.message;
  }
  return "";
}

for (const name of files) {
  sharedTest(`openCheckpoint() does what is expected of ${name}`, async () => {
    const { ok: good, tensors } = await expected(name);
    if (good === false) {
      const message = await refusal(sharedPath(`${FOLDER}/${name}`));
      ok(message.includes(name) && /^[^\n]{20,400}\.$/.test(message), message);
    } else {
      // The only file without tensors is one that was packed again.
      const wanted = tensors ?? (await expected("bare_state_dict.pt")).tensors!;
      using file = await openCheckpoint(sharedPath(`${FOLDER}/${name}`));
      await compare(file, wanted);
    }
    const traces = [...Deno.readDirSync("/tmp")].map((entry) => entry.name)
      .filter((entry) => entry.startsWith("SAM2_PICKLE_EXECUTED"));
    deepEqual(traces, []);
  });
}

sharedTest("openCheckpoint() finds every kind of file when the folder is read", () => {
  ok(files.length >= 28, `${files.length} files`);
});

sharedTest("openCheckpoint() lists what it leaves out when there are further entries", async () => {
  using file = await openCheckpoint(sharedPath(`${FOLDER}/mixed_dtypes_extras.pt`));
  deepEqual(file.others, ['"epoch"', '"lr"', '"name"', '"flags"', '"nested"', '"big"']);
});

const REAL = {
  "meshnet.pth": ["torch-zip", 135, 445_064],
  "meshnet_small.pth": ["torch-zip", 65, 23_184],
  "mindgrab_cuda_storages.pth": ["torch-zip", 27, 584_948],
  "safetensors_named_pth.pth": ["safetensors", 20, 385_632],
  "sam_lora_rank4.safetensors": ["safetensors", 48, 589_824],
} as const;

for (const [name, [format, count, bytes]] of Object.entries(REAL)) {
  sharedTest(`openCheckpoint() reads all of the real file ${name}`, async () => {
    using file = await openCheckpoint(sharedPath(`data/checkpoints/${name}`));
    equal(file.format, format);
    equal(file.tensors.size, count);
    let sum = 0;
    for (const [key, { dtype, read }] of file.tensors) {
      const content = await read();
      sum += content.length;
      const values = toFloat32(dtype, content);
      ok(values?.every((value) => Number.isFinite(value)), key);
    }
    equal(sum, bytes);
  });
}

/** Written checkpoints: what this program and PyTorch read from them. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { crc32 } from "node:zlib";
import {
  type CheckpointDType,
  type CheckpointTensor,
  openCheckpoint,
  writeCheckpoint,
} from "../engine/checkpoint/mod.ts";
import { CHECKPOINT_DTYPES } from "../engine/checkpoint/dtypes.ts";
import { numel } from "../engine/shape.ts";
import { withFolder } from "./temporary_folder.ts";

function tensor(dtype: CheckpointDType, shape: readonly number[], seed = 1): CheckpointTensor {
  const bytes = new Uint8Array(numel(shape) * CHECKPOINT_DTYPES[dtype].bytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = dtype === "bool" ? i % 2 : i * 31 + seed;
  return { dtype, shape, read: () => Promise.resolve(bytes) };
}

const all = Object.keys(CHECKPOINT_DTYPES) as CheckpointDType[];
/** Types that every version of PyTorch has. */
const classic = all.filter((dtype) => CHECKPOINT_DTYPES[dtype].storage !== undefined);

const tensorsOf = (dtypes: readonly CheckpointDType[]) => [
  ...dtypes.map((dtype, i) => [`of.${dtype}`, tensor(dtype, [3, 1, 5], i)] as const),
  ["scalar", tensor("float32", [])] as const,
  ["empty", tensor("float32", [2, 0])] as const,
  ["ünï “name”", tensor("int64", [70_000])] as const,
  ["__proto__", tensor("uint8", [1])] as const,
];

type Summary = Record<string, [dtype: string, shape: readonly number[], crc32: number]>;

async function summary(tensors: Iterable<readonly [string, CheckpointTensor]>): Promise<Summary> {
  const rows: [string, Summary[string]][] = [];
  for (const [name, { dtype, shape, read }] of tensors) {
    rows.push([name, [dtype, shape, crc32(await read())]]);
  }
  return Object.fromEntries(rows.sort(([a], [b]) => a < b ? -1 : 1));
}

for (
  const [extension, format, dtypes] of [
    [".safetensors", "safetensors", all],
    [".pt", "torch-zip", classic],
    [".PTH", "torch-zip", classic],
  ] as const
) {
  Deno.test(`writeCheckpoint() writes what openCheckpoint() reads as ${extension}`, () =>
    withFolder(async (folder) => {
      const path = `${folder}/model${extension}`;
      await writeCheckpoint(path, tensorsOf(dtypes));
      using file = await openCheckpoint(path);
      equal(file.format, format);
      deepEqual(await summary(file.tensors), await summary(tensorsOf(dtypes)));
      deepEqual([...Deno.readDirSync(folder)].length, 1);
    }));
}

Deno.test("writeCheckpoint() keeps texts in safetensors files", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model.safetensors`;
    await writeCheckpoint(path, [["w", tensor("float32", [1])]], { note: "ä" });
    using file = await openCheckpoint(path);
    deepEqual(file.metadata, { note: "ä" });
  }));

Deno.test("writeCheckpoint() writes the same bytes when it is called again", () =>
  withFolder(async (folder) => {
    const read = async () => {
      await writeCheckpoint(`${folder}/model.pt`, tensorsOf(classic));
      return await Deno.readFile(`${folder}/model.pt`);
    };
    deepEqual(await read(), await read());
  }));

Deno.test("writeCheckpoint() throws a sentence when the format cannot be told or lacks a type", () =>
  withFolder(async (folder) => {
    const tensors = [["w", tensor("uint32", [1])]] as const;
    for (const name of ["model", "model.onnx", "model.constructor", ".pt.d/model"]) {
      await rejects(writeCheckpoint(`${folder}/${name}`, tensors), {
        name: "UserError",
        message: `Cannot tell the format of ${folder}/${name}: its extension must be ` +
          ".safetensors, .pt or .pth.",
      });
    }
    await rejects(writeCheckpoint(`${folder}/model.pt`, tensors), {
      name: "UserError",
      message: /"w" is uint32, for which \.pt files have no storage; \.safetensors has one\.$/,
    });
    deepEqual([...Deno.readDirSync(folder)], []);
  }));

Deno.test("writeCheckpoint() leaves the old file when a tensor cannot be read", () =>
  withFolder(async (folder) => {
    for (const path of [`${folder}/model.pt`, `${folder}/model.safetensors`]) {
      await Deno.writeTextFile(path, "old");
      const broken: CheckpointTensor = {
        ...tensor("float32", [2]),
        read: () => Promise.reject(new Error("broken")),
      };
      const first = ["a", tensor("float32", [2])] as const;
      await rejects(writeCheckpoint(path, [first, ["b", broken]]), /broken/);
      const short: CheckpointTensor = { ...tensor("float32", [2]), shape: [3] };
      await rejects(writeCheckpoint(path, [first, ["b", short]]), {
        name: "RangeError",
        message: /"b" has 8 bytes, but \w+ \[3\] needs 12/,
      });
      equal(await Deno.readTextFile(path), "old");
    }
    deepEqual([...Deno.readDirSync(folder)].length, 2);
  }));

Deno.test("openCheckpoint() reads little when it opens a large file", () =>
  withFolder(async (folder) => {
    const large = Array.from(
      { length: 8 },
      (_, i) => [`layer.${i}`, tensor("float32", [1 << 18], i)] as const,
    );
    for (const path of [`${folder}/model.pt`, `${folder}/model.safetensors`]) {
      await writeCheckpoint(path, large);
      const readSync = Deno.FsFile.prototype.readSync;
      let bytes = 0;
      Deno.FsFile.prototype.readSync = function (buffer) {
        const count = readSync.call(this, buffer);
        bytes += count ?? 0;
        return count;
      };
      try {
        using file = await openCheckpoint(path);
        ok(bytes < 1 << 17, `${bytes} bytes to open ${path}`);
        bytes = 0;
        await file.tensors.get("layer.5")!.read();
        ok(bytes < (1 << 20) + 4096, `${bytes} bytes for one tensor of ${path}`);
      } finally {
        Deno.FsFile.prototype.readSync = readSync;
      }
    }
  }));

const HAS_TORCH = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)";

/** The first Python that has PyTorch: on Debian, it belongs to the system's own. */
async function pythonWithTorch(): Promise<string | undefined> {
  for (const python of ["python3", "/usr/bin/python3"]) {
    const command = new Deno.Command(python, { args: ["-c", HAS_TORCH], stderr: "null" });
    const found = await command.output().catch(() => undefined);
    if (found?.success) return python;
  }
  return undefined;
}

const SUMMARY = `
import json, sys, torch, zlib
model = torch.load(sys.argv[1], weights_only=True)["model"]
rows = {}
for name, value in model.items():
    flat = value.reshape(-1)
    flat = flat.to(torch.uint8) if value.dtype == torch.bool else flat.view(torch.uint8)
    dtype = str(value.dtype).removeprefix("torch.")
    rows[name] = [dtype, list(value.shape), zlib.crc32(bytes(flat.tolist()))]
print(json.dumps({"version": torch.__version__, "type": type(model).__name__, "rows": rows}))
`;

const python = await pythonWithTorch();

Deno.test({
  name: "writeCheckpoint() writes what torch.load(weights_only=True) reads" +
    (python ? "" : " (ignored: there is no Python with PyTorch)"),
  ignore: !python,
  fn: () =>
    withFolder(async (folder) => {
      const path = `${folder}/model.pt`;
      const tensors = tensorsOf(classic);
      await writeCheckpoint(path, tensors);
      const command = new Deno.Command(python!, { args: ["-W", "ignore", "-c", SUMMARY, path] });
      const { success, stdout, stderr } = await command.output();
      ok(success, new TextDecoder().decode(stderr));
      const { type, rows } = JSON.parse(new TextDecoder().decode(stdout));
      equal(type, "OrderedDict");
      deepEqual(Object.keys(rows), tensors.map(([name]) => name));
      const wanted = await summary(tensors);
      for (const [name, row] of Object.entries(rows)) deepEqual(row, wanted[name], name);
    }),
});

/** Files of PyTorch that are damaged, unsafe or hold no state dict, and files of other kinds. */
import { ok, rejects } from "node:assert/strict";
import { openCheckpoint } from "../engine/checkpoint/mod.ts";
import { UserError } from "../engine/errors.ts";
import { floats, legacyFile, Pickle, tensorsPickle, torchZip } from "./checkpoint_files.ts";
import { withFolder } from "./temporary_folder.ts";

/** Reads all of a file. */
async function readAll(bytes: Uint8Array): Promise<void> {
  using file = await openCheckpoint(bytes);
  for (const tensor of file.tensors.values()) await tensor.read();
}

const six = floats(0, 1, 2, 3, 4, 5);
const VIEWS = {
  whole: { count: 6, shape: [2, 3] },
  column: { count: 6, shape: [2], strides: [3], offset: 1 },
};
const tensor = (p: Pickle) => p.tensor({ shape: [6] });
const zipOf = (fill: (p: Pickle) => void, storage: Uint8Array = six) =>
  torchZip(new Pickle().dict(fill).end(), { "0": storage });
const rebuild = (p: Pickle) => p.text("w").global("torch._utils", "_rebuild_tensor_v2").op(0x28);
const two = (p: Pickle) => tensor(p.text("w"));

const REFUSED: readonly [what: string, Uint8Array, message: RegExp][] = [
  [
    "a view ends outside",
    zipOf((p) => p.text("w").tensor({ shape: [7], count: 6 })),
    /beyond its st/,
  ],
  [
    "a view begins outside",
    zipOf((p) => p.text("w").tensor({ shape: [1], offset: 6, count: 6 })),
    /\[1\] of strides \[1\] from element 6 reaches beyond its storage of 6 elements/,
  ],
  [
    "strides are too wide",
    zipOf((p) => p.text("w").tensor({ shape: [2, 2], strides: [2 ** 30, 1], count: 6 })),
    /reaches beyond its storage/,
  ],
  [
    "an offset is negative",
    zipOf((p) => p.text("w").tensor({ shape: [1], offset: -1, count: 6 })),
    /it has int in the place of a size/,
  ],
  [
    "a stride is negative",
    zipOf((p) => p.text("w").tensor({ shape: [2], strides: [-1], offset: 3, count: 6 })),
    /it has int in the place of a size/,
  ],
  [
    "a size is no number",
    zipOf((p) => rebuild(p).storage({ shape: [6] }).op(0x4e).ints([1]).ints([1]).op(0x74, 0x52)),
    /it has None in the place of a size/,
  ],
  [
    "there are more sizes than strides",
    zipOf((p) => p.text("w").tensor({ shape: [1, 1], strides: [1], count: 6 })),
    /it has tuple in the place of a stride for each size/,
  ],
  [
    "there are too many dimensions",
    zipOf((p) => p.text("w").tensor({ shape: new Array(65).fill(1), count: 6 })),
    /a tensor of 65 dimensions/,
  ],
  [
    "a tensor is endless",
    zipOf((p) => p.text("w").tensor({ shape: [2 ** 30, 2 ** 30], strides: [0, 0], count: 6 })),
    /1 tensors would take \d+ bytes, more than 64 times the file's \d+/,
  ],
  [
    "a storage is too short",
    zipOf((p) => p.text("w").tensor({ shape: [7] })),
    /entry "archive\/data\/0" has 24 bytes instead of 28/,
  ],
  [
    "a storage is missing",
    zipOf((p) => p.text("w").tensor({ shape: [6], key: "../0" })),
    /entry "archive\/data\/\.\.\/0" is missing/,
  ],
  [
    "a storage is called",
    zipOf((p) => {
      p.text("w").global("torch", "FloatStorage").ints([2 ** 30]).op(0x52);
    }),
    /it calls torch\.FloatStorage, which is only known as a type/,
  ],
  [
    "a tensor stands on a number",
    zipOf((p) => {
      rebuild(p).int(5).int(0).ints([1]).ints([1]).op(0x74, 0x52);
    }),
    /it has int in the place of a storage/,
  ],
  [
    "a storage has no type",
    zipOf((p) => {
      rebuild(p).op(0x28).text("storage").int(5).text("0").text("cpu").int(6).op(0x74, 0x51);
    }),
    /it has int in the place of the type of a storage/,
  ],
  [
    "an outer object is no storage",
    zipOf((p) => {
      p.text("w").op(0x28).text("module").text("x").op(0x74, 0x51);
    }),
    /it has tuple in the place of a storage/,
  ],
  [
    "functions call each other",
    zipOf((p) => {
      p.text("w").global("torch._tensor", "_rebuild_from_type_v2").op(0x28);
      p.global("torch._tensor", "_rebuild_from_type_v2").global("torch", "Tensor");
      p.op(0x29, 0x7d, 0x74, 0x52);
    }),
    /it has torch\._tensor\._rebuild_from_type_v2 in the place of another function/,
  ],
  [
    "it holds a module",
    zipOf((p) => {
      p.text("w").global("torch.nn.modules.linear", "Linear").op(0x29, 0x81);
    }),
    /it asks for torch\.nn\.modules\.linear\.Linear, which no tensor needs/,
  ],
  [
    "tensors are sparse",
    zipOf((p) => {
      p.text("w").global("torch._utils", "_rebuild_sparse_tensor").op(0x29, 0x52);
    }),
    /it asks for torch\._utils\._rebuild_sparse_tensor/,
  ],
  ["there are no tensors", zipOf((p) => p.text("epoch").int(3)), /but a dictionary of "epoch"/],
  [
    "it is a list",
    torchZip(new Pickle().op(0x5d).end()),
    /holds no dictionary of tensors, but a list/,
  ],
  [
    "it is one tensor",
    torchZip(new Pickle().tensor({ shape: [6] }).end(), { "0": six }),
    /but a single tensor/,
  ],
  [
    "several dictionaries have tensors",
    zipOf((p) => {
      p.text("a").dict(two).text("b").dict(two);
    }),
    /several dictionaries of tensors \("a", "b"\), none of which is called "model"/,
  ],
  [
    "dictionaries go round",
    zipOf((p) => {
      p.op(0x31, 0x71, 0, 0x28).text("model").op(0x68, 0);
    }),
    /holds no dictionary of tensors/,
  ],
  ["there is no pickle", torchZip(six, {}, { prefix: "data.pkl/" }).slice(), /ends within|unknown/],
  [
    "there are two pickles",
    torchZip(six, {}, { more: { "b/data.pkl": six } }),
    /2 entries data\.pkl instead of one/,
  ],
  [
    "its bytes are in the other order",
    torchZip(six, {}, { more: { "archive/byteorder": new TextEncoder().encode("big") } }),
    /its byte order is "big", not "little"/,
  ],
  [
    "a legacy storage is cut off",
    legacyFile(tensorsPickle(VIEWS), [["0", 6, six.slice(1)]]),
    /ends wi/,
  ],
  ["a legacy storage is missing", legacyFile(tensorsPickle(VIEWS), []), /storage "0" is missing/],
  [
    "a legacy storage is not asked for",
    legacyFile(tensorsPickle(VIEWS), [["1", 6, six]]),
    /list of storages does not fit/,
  ],
  [
    "a legacy storage has another size",
    legacyFile(tensorsPickle(VIEWS), [["0", 5, six]]),
    /storage "0" has 5 elements instead of 6/,
  ],
  [
    "a legacy storage has two sizes",
    legacyFile(tensorsPickle({ a: { shape: [6] }, b: { shape: [5] } }), [["0", 6, six]]),
    /storage "0" has two sizes or types/,
  ],
  ["a pickle is not PyTorch's", new Pickle().op(0x5d).end(), /not one that torch\.save wrote/],
];

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`openCheckpoint() throws a sentence when ${what}`, async () => {
    await rejects(readAll(bytes), (error: unknown) => {
      ok(error instanceof UserError, String(error));
      ok(error.message.startsWith("Cannot read the checkpoint as a PyTorch checkpoint: "));
      ok(message.test(error.message), error.message);
      return true;
    });
  });
}

const FOREIGN: readonly [what: string, Uint8Array, message: RegExp][] = [
  ["empty", new Uint8Array(0), /is no checkpoint: it is empty\.$/],
  ["a web page", new TextEncoder().encode("<html>\n"), /torch\.save, and begins with "<html>"\.$/],
  ["random", Uint8Array.of(1, 2, 3), /neither a safetensors file nor a file of torch\.save\.$/],
  [
    "a tar archive",
    new Uint8Array(512).map((_, i) => "ustar".charCodeAt(i - 257) || 0),
    /is a tar archive, such as the first versions of PyTorch wrote, which is not supported\.$/,
  ],
];

for (const [what, bytes, message] of FOREIGN) {
  Deno.test(`openCheckpoint() says what a file is not when it is ${what}`, async () => {
    await rejects(openCheckpoint(bytes), { name: "UserError", message });
  });
}

Deno.test("openCheckpoint() names the path when a file is missing or none", () =>
  withFolder(async (folder) => {
    const missing = `${folder}/missing.pt`;
    const noFile = `Cannot read ${missing}: there is no such file.`;
    await rejects(openCheckpoint(missing), { name: "UserError", message: noFile });
    const message = `Cannot read ${folder}: it is not a file.`;
    await rejects(openCheckpoint(folder), { name: "UserError", message });
  }));

Deno.test("openCheckpoint() throws a sentence when a file shrinks while it is open", () =>
  withFolder(async (folder) => {
    const path = `${folder}/file.pt`;
    await Deno.writeFile(path, torchZip(tensorsPickle(VIEWS), { "0": six }));
    using file = await openCheckpoint(path);
    await Deno.truncate(path, 100);
    const message = `${path} became shorter while it was read.`;
    await rejects(file.tensors.get("whole")!.read(), { name: "UserError", message });
  }));

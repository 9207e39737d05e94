/** Tensors of PyTorch's files: views, types, dictionaries around them, and what is refused. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { type CheckpointDType, openCheckpoint, toFloat32 } from "../engine/checkpoint/mod.ts";
import { UserError } from "../engine/errors.ts";
import {
  concat,
  floats,
  legacyFile,
  littleEndian,
  Pickle,
  tensorsPickle,
  torchZip,
  withFolder,
} from "./checkpoint_files.ts";

/** All values of a file, by name. */
async function valuesOf(bytes: Uint8Array): Promise<Record<string, number[]>> {
  using file = await openCheckpoint(bytes);
  const values: Record<string, number[]> = {};
  for (const [name, { dtype, read }] of file.tensors) {
    values[name] = [...toFloat32(dtype, await read()) ?? []];
  }
  return values;
}

const six = floats(0, 1, 2, 3, 4, 5);

const VIEWS = {
  whole: { count: 6, shape: [2, 3] },
  transposed: { count: 6, shape: [3, 2], strides: [1, 3] },
  column: { count: 6, shape: [2], strides: [3], offset: 1 },
  row: { count: 6, shape: [1, 3], strides: [77, 1], offset: 3 },
  repeated: { count: 6, shape: [2, 2], strides: [0, 1], offset: 4 },
  overlapping: { count: 6, shape: [3, 2], strides: [1, 1], offset: 0 },
  scalar: { count: 6, shape: [], offset: 5 },
  empty: { count: 6, shape: [0, 3], offset: 6 },
} as const;

const VALUES = {
  whole: [0, 1, 2, 3, 4, 5],
  transposed: [0, 3, 1, 4, 2, 5],
  column: [1, 4],
  row: [3, 4, 5],
  repeated: [4, 5, 4, 5],
  overlapping: [0, 1, 1, 2, 2, 3],
  scalar: [5],
  empty: [],
};

for (const level of [0, 6] as const) {
  Deno.test(`openCheckpoint() gives views of one storage at compression level ${level}`, async () => {
    deepEqual(await valuesOf(torchZip(tensorsPickle(VIEWS), { "0": six }, { level })), VALUES);
  });
}

Deno.test("openCheckpoint() gives views of one storage in the format before PyTorch 1.6", async () => {
  const file = legacyFile(tensorsPickle(VIEWS, "none"), [["0", 6, six]]);
  deepEqual(await valuesOf(file), VALUES);
  // Something may follow, as another file does where several were saved into one.
  deepEqual(await valuesOf(concat([file, Uint8Array.of(1, 2, 3)])), VALUES);
});

Deno.test("openCheckpoint() takes parts of legacy storages", async () => {
  const pickle = new Pickle().dict((p) => {
    p.text("part").global("torch._utils", "_rebuild_tensor").op(0x28, 0x28);
    p.text("storage").global("torch", "FloatStorage").text("7").text("cpu").int(6);
    p.op(0x28).text("view").int(2).int(3).op(0x74, 0x74, 0x51);
    p.int(1).ints([2]).ints([1]).op(0x74, 0x52);
  }).end();
  deepEqual(await valuesOf(legacyFile(pickle, [["7", 6, six]])), { part: [3, 4] });
});

const TYPES: readonly [storage: string, dtype: CheckpointDType, bytes: number[], value: number][] =
  [
    ["DoubleStorage", "float64", [0, 0, 0, 0, 0, 0, 0xf8, 0xbf], -1.5],
    ["FloatStorage", "float32", [0, 0, 0xc0, 0xbf], -1.5],
    ["HalfStorage", "float16", [0, 0xbe], -1.5],
    ["BFloat16Storage", "bfloat16", [0xc0, 0xbf], -1.5],
    ["LongStorage", "int64", littleEndian(-7, 8), -7],
    ["IntStorage", "int32", littleEndian(-7, 4), -7],
    ["ShortStorage", "int16", littleEndian(-7, 2), -7],
    ["CharStorage", "int8", [0xf9], -7],
    ["ByteStorage", "uint8", [0xf9], 249],
    ["BoolStorage", "bool", [1], 1],
  ];

for (const [storage, dtype, bytes, value] of TYPES) {
  Deno.test(`openCheckpoint() gives ${dtype} for a ${storage}, on any device`, async () => {
    for (const location of ["cpu", "cuda:0", "mps"]) {
      const pickle = tensorsPickle({ x: { storage, shape: [1], location } });
      const zip = torchZip(pickle, { "0": Uint8Array.from(bytes) });
      using file = await openCheckpoint(zip);
      const { dtype: found, read } = file.tensors.get("x")!;
      equal(found, dtype);
      deepEqual([...await read()], bytes);
      deepEqual(await valuesOf(zip), { x: [value] });
    }
  });
}

Deno.test("openCheckpoint() takes the type from the tensor when the storage has bytes only", async () => {
  const pickle = new Pickle().dict((p) => {
    p.text("x").global("torch._utils", "_rebuild_tensor_v3").op(0x28, 0x28).text("storage");
    p.global("torch.storage", "UntypedStorage").text("0").text("cpu").int(8).op(0x74, 0x51);
    p.int(1).ints([3]).ints([1]).op(0x89, 0x7d).global("torch", "uint16").op(0x74, 0x52);
  }).end();
  using file = await openCheckpoint(
    torchZip(pickle, { "0": Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }),
  );
  const { dtype, shape, read } = file.tensors.get("x")!;
  deepEqual([dtype, shape, [...await read()]], ["uint16", [3], [3, 4, 5, 6, 7, 8]]);
});

Deno.test("openCheckpoint() sees through parameters and attributes of tensors", async () => {
  const pickle = new Pickle().dict((p) => {
    p.text("parameter").global("torch._utils", "_rebuild_parameter").op(0x28);
    p.tensor({ shape: [2], count: 6 }).op(0x88, 0x7d, 0x74, 0x52);
    p.text("subclass").global("torch._tensor", "_rebuild_from_type_v2").op(0x28);
    p.global("torch._utils", "_rebuild_tensor_v2").global("torch", "Tensor").op(0x28);
    p.storage({ shape: [6] }).int(4).ints([2]).ints([1]).op(0x89, 0x7d, 0x74, 0x7d, 0x74, 0x52);
  }).end();
  deepEqual(await valuesOf(torchZip(pickle, { "0": six })), {
    parameter: [0, 1],
    subclass: [4, 5],
  });
});

const tensor = (p: Pickle) => p.tensor({ shape: [6] });

const LAYOUTS: readonly [
  what: string,
  fill: (p: Pickle) => void,
  names: string[],
  others: string[],
][] = [
  ["a bare dictionary", (p) => tensor(p.text("w")), ["w"], []],
  [
    "a dictionary with further entries",
    (p) => tensor(p.text("epoch").int(3).text("w")),
    ["w"],
    ['"epoch"'],
  ],
  [
    "model beside others",
    (p) => {
      p.text("optimizer").dict((q) => tensor(q.text("m"))).text("loss");
      tensor(p).text("model").dict((q) => tensor(q.text("w")).text("steps").int(1));
    },
    ["w"],
    ['"optimizer"', '"loss"', '"steps"'],
  ],
  ["state_dict", (p) => p.text("state_dict").dict((q) => tensor(q.text("w"))), ["w"], []],
  [
    "model in state_dict",
    (p) => p.text("state_dict").dict((q) => q.text("model").dict((r) => tensor(r.text("w")))),
    ["w"],
    [],
  ],
  [
    "a name as model and a state_dict",
    (p) => p.text("model").text("tiny").text("state_dict").dict((q) => tensor(q.text("w"))),
    ["w"],
    ['"model"'],
  ],
  [
    "the only dictionary of tensors",
    (p) => p.text("net").dict((q) => tensor(q.text("w"))).text("args").dict(() => {}),
    ["w"],
    ['"args"'],
  ],
  ["keys that are numbers", (p) => tensor(tensor(p.int(0)).text("w")), ["w"], ["0"]],
];

for (const [what, fill, names, others] of LAYOUTS) {
  Deno.test(`openCheckpoint() finds the state dict when the file holds ${what}`, async () => {
    const pickle = new Pickle().dict(fill).end();
    using file = await openCheckpoint(torchZip(pickle, { "0": six }));
    deepEqual([[...file.tensors.keys()], [...file.others].sort()], [names, [...others].sort()]);
  });
}

Deno.test("openCheckpoint() finds the archive's entries behind any prefix", async () => {
  for (const prefix of ["", "a/b/c/", "ünï/", "data/"]) {
    const zip = torchZip(tensorsPickle(VIEWS), { "0": six }, { prefix });
    deepEqual(await valuesOf(zip), VALUES, prefix);
  }
});

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
    await rejects(valuesOf(bytes), (error: unknown) => {
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

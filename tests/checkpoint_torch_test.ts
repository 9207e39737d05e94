/** Tensors of PyTorch's files: views, types, and the dictionaries around them. */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { type CheckpointDType, openCheckpoint, toFloat32 } from "../engine/checkpoint/mod.ts";
import {
  concat,
  floats,
  legacyFile,
  littleEndian,
  Pickle,
  tensorsPickle,
  torchZip,
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

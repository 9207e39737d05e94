import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeFileAtomically } from "../engine/atomic_file.ts";
import { UserError } from "../engine/errors.ts";
import { readSafetensors, type TensorToStore, writeSafetensors } from "../engine/safetensors.ts";
import { withFolder } from "./temporary_folder.ts";

const GOLDEN = new URL("../../shared/golden/", import.meta.url);

/** A file by hand: what `writeSafetensors` would never write. */
function file(header: unknown, dataBytes: number, length?: number): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const vector = (
  begin: number,
  end: number,
  dtype = "F32",
  shape: unknown = [(end - begin) / 4],
) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

Deno.test("writeSafetensors() gives back each type and shape when read again", () =>
  withFolder(async (folder) => {
    const path = join(folder, "all.safetensors");
    const tensors: [string, TensorToStore][] = [
      ["bytes", { shape: [3], data: Uint8Array.of(1, 2, 255) }],
      ["scalar", { shape: [], data: Float32Array.of(-0.5) }],
      ["empty", { shape: [0], data: new Float32Array(0) }],
      ["empty too", { shape: [4, 0, 2], data: new Int32Array(0) }],
      ["odd", { shape: [1, 3, 17], data: Float32Array.from({ length: 51 }, (_, i) => i / 7) }],
      ["signed", { shape: [2], data: Int32Array.of(-1, 2 ** 31 - 1) }],
      ["unsigned", { shape: [2], data: Uint32Array.of(0, 2 ** 32 - 1) }],
      ["half", { dtype: "F16", shape: [2, 1], data: Uint8Array.of(0, 60, 0, 192) }],
      ["wide", { dtype: "I64", shape: [1], data: Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0) }],
      ["NaN ∞", { shape: [3], data: Float32Array.of(NaN, Infinity, -0) }],
    ];
    await writeSafetensors(path, tensors, { step: "12", note: "ä\n" });
    const read = await readSafetensors(path);
    deepEqual(read.metadata, { step: "12", note: "ä\n" });
    equal(read.tensors.size, tensors.length);
    for (const [name, { shape, data, dtype }] of tensors) {
      deepEqual(read.tensors.get(name)?.shape, shape, name);
      equal(read.tensors.get(name)?.data.constructor, data.constructor, name);
      // Lists, because typed arrays that hold NaN never compare as equal.
      deepEqual([...read.tensors.get(name)?.data ?? []], [...data], name);
      if (dtype) equal(read.tensors.get(name)?.dtype, dtype);
    }
    const again = await readSafetensors(await Deno.readFile(path));
    for (const [name, { data }] of read.tensors) {
      deepEqual([...again.tensors.get(name)?.data ?? []], [...data], name);
    }
    deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["all.safetensors"]);
  }));

Deno.test("writeSafetensors() aligns each tensor when narrow types come first", () =>
  withFolder(async (folder) => {
    const path = join(folder, "aligned.safetensors");
    await writeSafetensors(path, [
      ["narrow", { shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ["wide", { shape: [2], data: Float32Array.of(1, 2) }],
    ]);
    const bytes = await Deno.readFile(path);
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    equal(length % 8, 0);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    deepEqual(header.wide.data_offsets, [0, 8]);
    deepEqual(header.narrow.data_offsets, [8, 11]);
  }));

Deno.test("writeSafetensors() takes a window of an array when it is a subarray", () =>
  withFolder(async (folder) => {
    const path = join(folder, "window.safetensors");
    const whole = Float32Array.of(1, 2, 3, 4);
    await writeSafetensors(path, new Map([["w", { shape: [2], data: whole.subarray(1, 3) }]]));
    deepEqual((await readSafetensors(path)).tensors.get("w")?.data, Float32Array.of(2, 3));
  }));

Deno.test("writeSafetensors() throws when a shape does not fit or a name comes twice", async () => {
  const data = new Float32Array(3);
  await rejects(writeSafetensors("never", [["w", { shape: [2], data }]]), {
    name: "RangeError",
    message: '"w" has 12 bytes, but F32 [2] needs 8.',
  });
  const twice: [string, TensorToStore][] = [["w", { shape: [3], data }], ["w", {
    shape: [3],
    data,
  }]];
  await rejects(writeSafetensors("never", twice), /"w" is there twice/);
});

const DAMAGED: [reason: string, bytes: Uint8Array, message: RegExp][] = [
  ["it is empty", new Uint8Array(0), /it has 0 bytes, fewer than the 8/],
  ["the length is cut", new Uint8Array(7), /it has 7 bytes/],
  ["the header is longer than the file", file("{}", 0, 3), /header length is 3, but .* 10 bytes/],
  [
    "the header length is absurd",
    new Uint8Array(16).fill(255),
    /header length is 1844674407370955/,
  ],
  ["the header is cut", file('{"a":', 0), /its header is no JSON \(/],
  ["the header is no UTF-8", file("{}", 0).fill(0xff, 8), /its header is no JSON \(/],
  ["the header is a list", file([], 0), /no JSON object/],
  ["an entry is null", file({ a: null }, 0), /"a" has the unknown element type undefined/],
  ["the type is unknown", file({ a: vector(0, 4, "F31") }, 4), /unknown element type "F31"/],
  ["the type is inherited", file({ a: vector(0, 4, "toString") }, 4), /type "toString"/],
  ["a size is negative", file({ a: vector(0, 4, "F32", [-1]) }, 4), /"a" has the shape \[-1\]/],
  ["a size is fractional", file({ a: vector(0, 4, "F32", [0.5]) }, 4), /the shape \[0\.5\]/],
  [
    "the shape is missing",
    file({ a: { dtype: "F32", data_offsets: [0, 4] } }, 4),
    /shape undefined/,
  ],
  ["offsets run backwards", file({ a: vector(4, 0, "F32", [0]) }, 4), /the data offsets \[4,0\]/],
  ["there is one offset", file({ a: { ...vector(0, 4), data_offsets: [0] } }, 4), /offsets \[0\]/],
  [
    "shape and bytes differ",
    file({ a: vector(0, 8, "F32", [3]) }, 8),
    /8 bytes, but F32 \[3\] needs 12/,
  ],
  ["the data is cut", file({ a: vector(0, 8) }, 4), /"a" ends at byte 8 of 4 bytes/],
  ["tensors overlap", file({ a: vector(0, 8), b: vector(4, 12) }, 12), /"b" overlaps "a"/],
  ["there is a hole", file({ a: vector(0, 4), b: vector(8, 12) }, 12), /4 bytes before "b"/],
  ["bytes are left over", file({ a: vector(0, 4) }, 9), /its last 5 bytes belong to no tensor/],
  [
    "a name comes twice",
    file(
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' +
        '"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
      2,
    ),
    /1 bytes before "a"/,
  ],
  [
    "metadata is no text",
    file({ __metadata__: { step: 1 } }, 0),
    /__metadata__ holds more than text/,
  ],
];

for (const [reason, bytes, message] of DAMAGED) {
  Deno.test(`readSafetensors() throws a sentence with the path when ${reason}`, () =>
    withFolder(async (folder) => {
      const path = join(folder, "damaged.safetensors");
      await Deno.writeFile(path, bytes);
      const isClear = (error: unknown) => {
        ok(error instanceof UserError);
        ok(error.message.startsWith(`${path} is not a sound safetensors file: `), error.message);
        ok(message.test(error.message), error.message);
        return true;
      };
      await rejects(readSafetensors(path), isClear);
      await rejects(readSafetensors(bytes), { name: "UserError", message });
    }));
}

Deno.test("readSafetensors() names the file when it is missing", () =>
  rejects(readSafetensors("missing.safetensors"), {
    name: "UserError",
    message: "Cannot read missing.safetensors: there is no such file.",
  }));

Deno.test("writeFileAtomically() keeps the old file when the disk fills up", () =>
  withFolder(async (folder) => {
    const path = join(folder, "kept");
    await Deno.writeTextFile(path, "old");
    function* chunks() {
      yield new Uint8Array(10);
      throw Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
    }
    await rejects(writeFileAtomically(path, chunks()), {
      name: "UserError",
      message: `Cannot write ${path}: the disk is full.`,
    });
    equal(await Deno.readTextFile(path), "old");
    deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["kept"]);
  }));

Deno.test("writeFileAtomically() leaves one whole file of several written at the same time", () =>
  withFolder(async (folder) => {
    const path = join(folder, "contended");
    async function* chunks(value: number, count: number) {
      for (let i = 0; i < count; i++) {
        await Promise.resolve();
        yield new Uint8Array(4).fill(value);
      }
    }
    await Promise.all([30, 10, 20].map((n) => writeFileAtomically(path, chunks(n, n))));
    const [value, ...rest] = await Deno.readFile(path);
    equal(rest.length, 4 * value - 1);
    deepEqual(new Set(rest), new Set([value]));
    deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["contended"]);
  }));

Deno.test({
  name: "writeFileAtomically() reports the disk as full when the device says so",
  // /dev/full fails every write as a full disk does; other systems have no such device.
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder(async (folder) => {
      const path = join(folder, "full");
      await Deno.symlink("/dev/full", path);
      await rejects(writeFileAtomically(path, [new Uint8Array(10)]), {
        name: "UserError",
        message: `Cannot write ${path}: the disk is full.`,
      });
      deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["full"]);
    }),
});

Deno.test({
  name: "writeFileAtomically() writes to a device, and puts no file in its place",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (folder) => {
      const path = join(folder, "sink");
      await Deno.symlink("/dev/null", path);
      await writeFileAtomically(path, [new Uint8Array(10)]);
      equal((await Deno.lstat(path)).isSymlink, true);
      deepEqual([...Deno.readDirSync(folder)].map((entry) => entry.name), ["sink"]);
    }),
});

Deno.test("writeFileAtomically() names the cause when the folder is missing", () =>
  rejects(writeFileAtomically("missing/file", []), {
    name: "UserError",
    message: "Cannot write missing/file: its folder does not exist.",
  }));

const windows = Deno.build.os === "windows";
Deno.test({
  name: "writeFileAtomically() names the cause when the name is too long" +
    (windows ? " (ignored: Windows says something else)" : ""),
  ignore: windows,
  fn: () =>
    rejects(writeFileAtomically("a".repeat(300), []), {
      name: "UserError",
      message: /^Cannot write a+: its name is too long\.$/,
    }),
});

const golden = new URL("ops.safetensors", GOLDEN);
const goldenIsThere = await Deno.stat(golden).then(() => true, () => false);
Deno.test({
  name: "readSafetensors() reads a file that the Python library wrote" +
    (goldenIsThere ? "" : " (ignored: ../shared/golden is absent)"),
  ignore: !goldenIsThere,
  fn: async () => {
    const { tensors } = await readSafetensors(fileURLToPath(golden));
    ok(tensors.size > 0);
    for (const [name, { dtype, data }] of tensors) {
      if (dtype !== "F32") continue;
      ok((data as Float32Array).every((value) => !Number.isNaN(value)), name);
    }
  },
});

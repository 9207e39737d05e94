/**
 * Thousands of damaged checkpoints. Each is either read or refused with one sentence: nothing hangs,
 * nothing is executed (the test has no permissions), and memory stays in proportion to the file.
 */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import { openCheckpoint } from "../engine/checkpoint/mod.ts";
import { tensorBytes } from "../engine/checkpoint/open.ts";
import { UserError } from "../engine/errors.ts";
import { seededRandom } from "../engine/nn/random.ts";
import {
  concat,
  floats,
  legacyFile,
  littleEndian,
  Pickle,
  tensorsPickle,
  torchZip,
} from "./checkpoint_files.ts";
import { hasShared, sharedPath } from "./shared.ts";

const COUNT = 12_000;
const SECONDS_PER_FILE = 2;
const MEGABYTES = 600;

/** Draws whole numbers below a bound. */
type Draw = (bound: number) => number;

/** Makes the file that a pickle belongs to. */
type Pack = (pickle: Uint8Array) => Uint8Array;

const values = floats(...Array.from({ length: 24 }, (_, i) => i));
const tensors = {
  a: { key: "0", shape: [2, 3], count: 24 },
  b: { key: "0", shape: [3, 2], strides: [1, 3], offset: 6, count: 24 },
  c: { key: "1", storage: "HalfStorage", shape: [4], location: "cuda:0" },
  d: { key: "1", storage: "HalfStorage", shape: [2, 2], strides: [0, 1], count: 4 },
};
const storages = { "0": values, "1": values.slice(0, 8) };

const nested = new Pickle(4).dict((p) => {
  p.text("epoch").int(3).text("name").op(0x8c, 2, 0x61, 0x62, 0x94);
  p.text("model").dict((q) => q.text("w").tensor({ shape: [24] }));
  p.text("hooks").global("collections", "OrderedDict").op(0x5d, 0x28).text("k").op(0x4e);
  p.op(0x86, 0x65, 0x85, 0x52);
  p.text("set").op(0x8f, 0x28, 0x4b, 1, 0x90).text("big").op(0x8a, 9, ...littleEndian(-1, 9));
}).end();

const zipped: Pack = (pickle) => torchZip(pickle, storages);
const deflated: Pack = (pickle) => torchZip(pickle, storages, { level: 6 });
const legacy: Pack = (pickle) => legacyFile(pickle, [["0", 24, values], ["1", 4, storages["1"]]]);

const pickles: readonly (readonly [Uint8Array, Pack])[] = [
  [tensorsPickle(tensors), zipped],
  [tensorsPickle(tensors), deflated],
  [tensorsPickle(tensors, "none"), legacy],
  [nested, zipped],
];

function safetensors(): Uint8Array {
  const header = new TextEncoder().encode(JSON.stringify({
    __metadata__: { note: "ä" },
    a: { dtype: "F32", shape: [2, 12], data_offsets: [0, 96] },
    b: { dtype: "BF16", shape: [4], data_offsets: [96, 104] },
  }));
  const length = Uint8Array.from(littleEndian(header.length, 8));
  return concat([length, header, values, storages["1"]]);
}

/** Small enough that a change often hits something that matters. */
const GOLDEN = [
  ...["shared_storage", "noncontiguous", "mixed_dtypes_extras", "parameters", "legacy_shared"],
  ...["evil_os_system", "evil_eval_legacy", "evil_getattr", "evil_namespace_build"],
];
const golden = hasShared()
  ? GOLDEN.map((name) => Deno.readFileSync(sharedPath(`golden/pt/${name}.pt`)))
  : [];

const whole = [...pickles.map(([pickle, pack]) => pack(pickle)), safetensors(), ...golden];

const EXTREMES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
/** Operations and values that a pickle is full of. */
const TOKENS: readonly number[][] = [
  ...[0x28, 0x74, 0x75, 0x52, 0x51, 0x62, 0x81, 0x7d, 0x5d, 0x29, 0x65, 0x73, 0x2e, 0x94, 0x93]
    .map((code) => [code]),
  ...[[0x68, 0], [0x71, 0], [0x8b, 255, 255, 255, 127], [0x58, 255, 255, 255, 255]],
  [...new TextEncoder().encode("cposix\nsystem\n")],
  [...new TextEncoder().encode("ctorch\nFloatStorage\n")],
];

const CHANGES: readonly ((bytes: Uint8Array, draw: Draw) => Uint8Array)[] = [
  function flip(bytes, draw) {
    const copy = bytes.slice();
    for (let n = 1 + draw(3); n > 0; n--) copy[draw(copy.length)] = draw(256);
    return copy;
  },
  function flipBit(bytes, draw) {
    const copy = bytes.slice();
    copy[draw(copy.length)] ^= 1 << draw(8);
    return copy;
  },
  function cut(bytes, draw) {
    return bytes.slice(0, draw(bytes.length));
  },
  function setField(bytes, draw) {
    const copy = bytes.slice();
    const width = [2, 4, 8][draw(3)];
    const value = littleEndian(EXTREMES[draw(EXTREMES.length)], width);
    copy.set(value.slice(0, copy.length), draw(Math.max(1, copy.length - width)));
    return copy;
  },
  /** Sizes, strides, offsets and lengths of a pickle. */
  function setInteger(bytes, draw) {
    const copy = bytes.slice();
    const places = [...copy.keys()].filter((at) => copy[at] === 0x4a && at + 5 < copy.length);
    if (places.length === 0) return copy;
    const value = draw(2) === 0 ? draw(30) : EXTREMES[draw(EXTREMES.length)];
    copy.set(littleEndian(value, 4), places[draw(places.length)] + 1);
    return copy;
  },
  function remove(bytes, draw) {
    const start = draw(bytes.length);
    return concat([bytes.subarray(0, start), bytes.subarray(start + 1 + draw(40))]);
  },
  function repeat(bytes, draw) {
    const start = draw(bytes.length), at = draw(bytes.length);
    const part = bytes.subarray(start, start + 1 + draw(80));
    return concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
  },
  function insert(bytes, draw) {
    const at = draw(bytes.length);
    const token = Uint8Array.from(TOKENS[draw(TOKENS.length)]);
    return concat([bytes.subarray(0, at), token, bytes.subarray(at)]);
  },
];

/** The damaged file of a number; files with a sound checksum around a damaged pickle among them. */
function damaged(index: number): Uint8Array {
  const random = seededRandom(index);
  const draw: Draw = (bound) => Math.floor(random() * bound);
  const change = (bytes: Uint8Array) => {
    let result = bytes;
    for (let n = draw(4) === 0 ? 3 : 1; n > 0 && result.length > 0; n--) {
      result = CHANGES[draw(CHANGES.length)](result, draw);
    }
    return result;
  };
  if (draw(3) === 0) return change(whole[draw(whole.length)]);
  const [pickle, pack] = pickles[draw(pickles.length)];
  return pack(change(pickle));
}

/** Reads all of a file; what is wrong with that, if anything is. */
async function fault(bytes: Uint8Array): Promise<{ fault?: string; read: boolean }> {
  const start = performance.now();
  let read = 0;
  let refusal = "";
  try {
    using file = await openCheckpoint(bytes);
    for (const tensor of file.tensors.values()) {
      read += tensorBytes(tensor);
      const { length } = await tensor.read();
      if (length !== tensorBytes(tensor)) return { fault: `${length} bytes`, read: true };
    }
  } catch (error) {
    if (!(error instanceof UserError)) {
      return { fault: String((error as Error).stack), read: false };
    }
    refusal = error.message;
  }
  const seconds = (performance.now() - start) / 1000;
  if (seconds > SECONDS_PER_FILE) return { fault: `${seconds} s`, read: refusal === "" };
  if (read > 64 * Math.max(bytes.length, 1 << 16)) return { fault: `${read} bytes`, read: true };
  if (refusal !== "" && !/^[^\p{Cc}\p{Zl}]{10,600}\.$/u.test(refusal)) {
    return { fault: `no sentence: ${refusal}`, read: false };
  }
  return { read: refusal === "" };
}

Deno.test({
  name: `openCheckpoint() reads or refuses each of ${COUNT} damaged files`,
  permissions: "none",
  fn: async () => {
    const before = Deno.memoryUsage().rss;
    const faults: string[] = [];
    let read = 0;
    let peak = 0;
    for (let index = 0; index < COUNT; index++) {
      const result = await fault(damaged(index));
      if (result.fault) faults.push(`file ${index}: ${result.fault}`);
      if (result.read) read++;
      if (index % 50 === 0) peak = Math.max(peak, Deno.memoryUsage().rss - before);
    }
    deepEqual(faults, []);
    ok(peak < MEGABYTES * 2 ** 20, `${peak} bytes`);
    // Neither did every change go unnoticed, nor was every file refused from the start.
    ok(read > COUNT / 50 && read < COUNT * 0.7, `${read} files were read`);
  },
});

Deno.test("openCheckpoint() reads each file when it is not damaged", async () => {
  const sound = whole.slice(0, whole.length - golden.length);
  for (const [i, bytes] of sound.entries()) deepEqual(await fault(bytes), { read: true }, `${i}`);
});

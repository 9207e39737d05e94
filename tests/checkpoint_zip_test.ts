/** Zip archives: what is read, what is refused, and what is written. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { crc32 } from "node:zlib";
import { unzipSync, type Zippable, zipSync } from "fflate";
import { type ByteSource, memorySource, openFile } from "../engine/checkpoint/byte_source.ts";
import { ZipArchive } from "../engine/checkpoint/zip_archive.ts";
import { directory, localHeader, zipArchive } from "../engine/checkpoint/zip_writer.ts";
import { UserError } from "../engine/errors.ts";
import { concat, littleEndian } from "./checkpoint_files.ts";
import { withFolder } from "./temporary_folder.ts";

const fail = (reason: string) => new UserError(`The archive is wrong: ${reason}.`);
const archiveOf = (source: ByteSource) => new ZipArchive(source, fail);
const open = (bytes: Uint8Array) => archiveOf(memorySource("the archive", bytes));

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (content: string) => new TextEncoder().encode(content);

function readAll(archive: ZipArchive): Record<string, string> {
  return Object.fromEntries(
    [...archive.entries].map(([name, entry]) => [name, text(archive.read(entry))]),
  );
}

const LONG = "abcdefgh".repeat(5000);
const files: Zippable = {
  "p/stored": [bytesOf("hello"), { level: 0 }],
  "p/deflated": [bytesOf(LONG), { level: 6 }],
  "p/empty": [new Uint8Array(0), { level: 0 }],
  "ünï": [bytesOf("x"), { level: 9 }],
};
const good = zipSync(files);
const content = { "p/stored": "hello", "p/deflated": LONG, "p/empty": "", "ünï": "x" };

/** Position of the `count`-th signature, counted from 0. */
function find(bytes: Uint8Array, signature: number, count = 0): number {
  const wanted = littleEndian(signature, 4);
  for (let at = 0; at + 4 <= bytes.length; at++) {
    if (wanted.every((byte, i) => bytes[at + i] === byte) && count-- === 0) return at;
  }
  throw new Error("no such signature");
}

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50;

/** A copy in which the bytes at an offset from a signature are others. */
function changed(signature: number, count: number, offset: number, ...bytes: number[]) {
  const copy = good.slice();
  copy.set(bytes, find(copy, signature, count) + offset);
  return copy;
}

Deno.test("ZipArchive reads stored and deflated entries", () => {
  deepEqual(readAll(open(good)), content);
});

Deno.test("ZipArchive reads an archive when a comment follows it", () => {
  const comment = bytesOf("PK\u0005\u0006 is not the end");
  const bytes = concat([changed(END, 0, 20, comment.length, 0), comment]);
  deepEqual(readAll(open(bytes)), content);
});

Deno.test("ZipArchive gives parts of entries when they are stored or deflated", () => {
  const archive = open(good);
  for (const [name, whole] of Object.entries(content)) {
    const entry = archive.entries.get(name)!;
    const start = Math.floor(whole.length / 3), length = Math.floor(whole.length / 2);
    equal(text(archive.read(entry, start, length)), whole.slice(start, start + length), name);
    equal(text(archive.read(entry)), whole, name);
  }
});

Deno.test("ZipArchive checks all of an entry when the first part of it is read", () => {
  const bytes = good.slice();
  bytes[find(bytes, LOCAL) + 30 + "p/stored".length + 4] ^= 1;
  const archive = open(bytes);
  const entry = archive.entries.get("p/stored")!;
  throws(() => archive.read(entry, 0, 1), /entry "p\/stored" is damaged: its CRC-32 is not/);
});

Deno.test("ZipArchive checks an entry once when many parts of it are read", () => {
  const whole = new Uint8Array(1 << 16).map((_, i) => i);
  const memory = memorySource("", zipSync({ data: [whole, { level: 0 }] }));
  let bytes = 0;
  const archive = archiveOf({
    ...memory,
    read: (position, length) => {
      bytes += length;
      return memory.read(position, length);
    },
  });
  const entry = archive.entries.get("data")!;
  for (let i = 0; i < 100; i++) {
    deepEqual(archive.read(entry, 10 * i, 10), whole.slice(10 * i, 10 * i + 10));
  }
  ok(bytes < 3 * whole.length, `${bytes} bytes`);
});

const REFUSED: readonly [what: string, Uint8Array, message: RegExp][] = [
  ["it is empty", new Uint8Array(0), /no directory at its end/],
  ["its end is cut off", good.slice(0, -1), /no directory at its end/],
  ["half is missing", good.slice(0, good.length / 2), /no directory at its end/],
  ["its directory is too long", changed(END, 0, 12, 255, 255), /does not fit before byte/],
  ["its directory is elsewhere", changed(END, 0, 16, 255, 255, 255, 127), /does not fit before/],
  ["its directory is misplaced", changed(END, 0, 16, 1, 0), /directory is damaged at byte 0/],
  ["it has more entries", changed(END, 0, 10, 5, 0), /cannot hold 5 entries/],
  ["it has countless entries", changed(END, 0, 10, 255, 255), /cannot hold 65535 entries/],
  ["a name is too long", changed(CENTRAL, 3, 28, 255, 0), /its directory is damaged/],
  ["an entry is encrypted", changed(CENTRAL, 0, 8, 1), /entry "p\/stored" is encrypted/],
  ["a method is unknown", changed(CENTRAL, 0, 10, 12), /compressed by method 12, not by deflate/],
  ["stored sizes differ", changed(CENTRAL, 0, 24, 4), /claims 4 bytes, which its 5 cannot hold/],
  [
    "an entry would be endless",
    changed(CENTRAL, 1, 24, 255, 255, 255, 127),
    /claims 2147483647 bytes, which its \d+ cannot hold/,
  ],
  ["64-bit sizes are missing", changed(CENTRAL, 0, 24, 255, 255, 255, 255), /lacks its 64-bit/],
  ["an entry lies outside", changed(CENTRAL, 3, 42, 255, 255, 255, 127), /does not fit before/],
  ["entries overlap", changed(CENTRAL, 1, 42, 0, 0, 0, 0), /does not fit before byte 0/],
  ["a name comes twice", zipWithTwins(), /two entries "twin"/],
];

function zipWithTwins(): Uint8Array {
  const bytes = zipSync({ twin: new Uint8Array(1), mist: new Uint8Array(1) }, { level: 0 });
  for (const signature of [LOCAL, CENTRAL]) {
    const at = find(bytes, signature, 1) + (signature === LOCAL ? 30 : 46);
    bytes.set(bytesOf("twin"), at);
  }
  return bytes;
}

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`ZipArchive throws a sentence when ${what}`, () => {
    throws(() => open(bytes), { name: "UserError", message });
  });
}

const DAMAGED: readonly [what: string, Uint8Array, message: RegExp][] = [
  ["a local header is missing", changed(LOCAL, 0, 0, 0), /"p\/stored" has a damaged header/],
  ["the methods differ", changed(LOCAL, 0, 8, 8), /"p\/stored" has a damaged header/],
  ["the names differ", changed(LOCAL, 0, 30, 0x71), /"p\/stored" has a damaged header/],
  ["an extra field is too long", changed(LOCAL, 0, 28, 255, 255), /has a damaged header/],
  ["a checksum is wrong", changed(CENTRAL, 0, 16, 0), /"p\/stored" is damaged: its CRC-32/],
  ["deflated data are wrong", changed(LOCAL, 1, 40, 255), /"p\/deflated" cannot be unpacked \(/],
  ["they are too long", changed(CENTRAL, 1, 24, 0, 1, 0, 0), /unpacked \(it is too long\)/],
  ["they are too short", changed(CENTRAL, 1, 24, 255, 255, 0, 0), /unpacked \(it is too short\)/],
];

for (const [what, bytes, message] of DAMAGED) {
  Deno.test(`ZipArchive.read() throws a sentence when ${what}`, () => {
    const archive = open(bytes);
    throws(() => readAll(archive), { name: "UserError", message });
  });
}

const written = async (contents: Record<string, Uint8Array>) => {
  const entries = Object.entries(contents).map(([name, bytes]) => ({ name, read: () => bytes }));
  return concat(await Array.fromAsync(zipArchive(entries)));
};

Deno.test("zipArchive() writes what fflate and ZipArchive read, aligned to 64 bytes", async () => {
  const contents = Object.fromEntries(
    [0, 1, 63, 64, 65, 1000].map((n) => [`a/${"n".repeat(n % 40)}${n}`, new Uint8Array(n).fill(n)]),
  );
  const bytes = await written(contents);
  deepEqual(unzipSync(bytes), contents);
  const archive = open(bytes);
  for (const [name, entry] of archive.entries) {
    deepEqual(archive.read(entry), contents[name]);
    const view = new DataView(bytes.buffer, entry.position);
    equal((entry.position + 30 + view.getUint16(26, true) + view.getUint16(28, true)) % 64, 0);
  }
  equal(archive.entries.size, 6);
  deepEqual(await written(contents), bytes);
});

Deno.test("directory() uses zip64 when there are more than 65,534 entries", () => {
  const entries = Array.from({ length: 0xffff }, (_, i) => ({
    name: bytesOf(String(i)),
    crc32: i,
    size: 0,
    position: 40 * i,
  }));
  const position = 40 * entries.length;
  const archive = open(concat([new Uint8Array(position), ...directory(entries, position)]));
  equal(archive.entries.size, 0xffff);
  deepEqual(archive.entries.get("65534")?.crc32, 65534);
});

Deno.test({
  name: "ZipArchive reads what lies beyond 4 GiB when the fields are those of zip64",
  // Only these file systems are sure to keep a file with a hole small.
  ignore: Deno.build.os !== "linux",
  fn: () =>
    withFolder(async (folder) => {
      const path = `${folder}/sparse.zip`;
      const entry = (name: string, position: number, bytes: Uint8Array) => ({
        name: bytesOf(name),
        crc32: crc32(bytes),
        size: bytes.length,
        position,
      });
      const far = 5 * 2 ** 30;
      const entries = [entry("near", 0, bytesOf("one")), entry("far", far, bytesOf("two"))];
      const huge = { ...entry("huge", far + 1000, new Uint8Array(0)), size: 2 ** 32 };
      {
        using file = await Deno.open(path, { write: true, create: true });
        const put = async (position: number, parts: Uint8Array[]) => {
          await file.seek(position, Deno.SeekMode.Start);
          await file.write(concat(parts));
        };
        await put(0, [...localHeader(entries[0]), bytesOf("one")]);
        await put(far, [...localHeader(entries[1]), bytesOf("two")]);
        const end = 10 * 2 ** 30;
        await put(huge.position, localHeader(huge));
        await put(end, directory([...entries, huge], end));
      }
      using source = await openFile(path);
      const archive = archiveOf(source);
      equal(text(archive.read(archive.entries.get("near")!)), "one");
      equal(text(archive.read(archive.entries.get("far")!)), "two");
      equal(archive.entries.get("huge")?.size, 2 ** 32);
    }),
});

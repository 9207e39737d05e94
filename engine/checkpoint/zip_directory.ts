/**
 * The directory of a zip archive: what its entries are called, and where they lie. It stands at the
 * end of the file, so that nothing else has to be read. Source: PKWARE's APPNOTE 6.3.10, 4.3 and 4.5.
 */
import { type Fail, quoted } from "../errors.ts";
import type { ByteSource } from "./byte_source.ts";

/** An entry as the directory describes it. */
export interface ZipEntry {
  readonly name: string;
  /** 0: stored, 8: deflated. */
  readonly method: number;
  readonly crc32: number;
  readonly compressedSize: number;
  readonly size: number;
  /** Position of the local header, which the data follow. */
  readonly position: number;
  /** Position that the data must not pass: the next entry, or the directory. */
  readonly limit: number;
}

const END = { signature: 0x06054b50, bytes: 22 };
const END64 = { signature: 0x06064b50, bytes: 56 };
const LOCATOR64 = { signature: 0x07064b50, bytes: 20 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
/** Size of a local header without its name and extra fields. */
export const LOCAL_HEADER_BYTES = 30;
const MAX_COMMENT = 0xffff;
const ZIP64_EXTRA = 1;
const SATURATED = 0xffffffff;
const ENCRYPTED = 1;
/** More than deflate can ever expand: 258 bytes from two bits. */
const MAX_DEFLATE_RATIO = 1032;

interface Directory {
  readonly count: number;
  readonly position: number;
  readonly bytes: number;
}

type MutableEntry = { -readonly [Key in keyof ZipEntry]: ZipEntry[Key] };

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const u64 = (view: DataView, at: number) => Number(view.getBigUint64(at, true));

/**
 * Reads the directory of an archive.
 *
 * @throws {UserError} where it is missing, damaged or describes entries that cannot be there.
 */
export function readZipDirectory(source: ByteSource, fail: Fail): ZipEntry[] {
  const directory = findDirectory(source, fail);
  const bytes = source.read(directory.position, directory.bytes);
  const entries: MutableEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    const [entry, end] = readEntry(bytes, at, fail);
    if (names.has(entry.name)) throw fail(`it has two entries ${quoted(entry.name)}`);
    names.add(entry.name);
    entries.push(entry);
    at = end;
  }
  return layOut(entries, directory.position, fail);
}

/** Searches the end record backwards: a comment of unknown length may follow it. */
function findDirectory(source: ByteSource, fail: Fail): Directory {
  const length = Math.min(source.size, END.bytes + MAX_COMMENT);
  const start = source.size - length;
  const tail = viewOf(source.read(start, length));
  for (let at = length - END.bytes; at >= 0; at--) {
    if (tail.getUint32(at, true) !== END.signature) continue;
    if (at + END.bytes + tail.getUint16(at + 20, true) !== length) continue;
    return checked(readEnd(source, tail, at, start + at, fail), fail);
  }
  throw fail("it has no directory at its end, so that it is cut off or damaged");
}

function readEnd(source: ByteSource, tail: DataView, at: number, end: number, fail: Fail) {
  const locatorAt = end - LOCATOR64.bytes;
  const locator = locatorAt >= 0 ? viewOf(source.read(locatorAt, LOCATOR64.bytes)) : undefined;
  if (locator?.getUint32(0, true) === LOCATOR64.signature) {
    const position = u64(locator, 8);
    if (position + END64.bytes > locatorAt) throw fail("its zip64 directory lies outside of it");
    const end64 = viewOf(source.read(position, END64.bytes));
    if (end64.getUint32(0, true) !== END64.signature) throw fail("its zip64 directory is damaged");
    const [count, bytes] = [u64(end64, 32), u64(end64, 40)];
    return { count, bytes, position: u64(end64, 48), end: position };
  }
  return {
    count: tail.getUint16(at + 10, true),
    bytes: tail.getUint32(at + 12, true),
    position: tail.getUint32(at + 16, true),
    end,
  };
}

function checked({ count, bytes, position, end }: Directory & { end: number }, fail: Fail) {
  if (position + bytes > end) {
    throw fail(`its directory of ${bytes} bytes at ${position} does not fit before byte ${end}`);
  }
  if (count * CENTRAL.bytes > bytes) {
    throw fail(`its directory of ${bytes} bytes cannot hold ${count} entries`);
  }
  return { count, bytes, position };
}

function readEntry(bytes: Uint8Array, at: number, fail: Fail): [entry: MutableEntry, end: number] {
  const damaged = () => fail(`its directory is damaged at byte ${at}`);
  if (at + CENTRAL.bytes > bytes.length) throw damaged();
  const view = viewOf(bytes.subarray(at));
  if (view.getUint32(0, true) !== CENTRAL.signature) throw damaged();
  const lengths = [28, 30, 32].map((offset) => view.getUint16(offset, true));
  const nameEnd = CENTRAL.bytes + lengths[0];
  const extraEnd = nameEnd + lengths[1];
  const end = at + extraEnd + lengths[2];
  if (end > bytes.length) throw damaged();
  const name = new TextDecoder().decode(bytes.subarray(at + CENTRAL.bytes, at + nameEnd));
  if (view.getUint16(8, true) & ENCRYPTED) throw fail(`its entry ${quoted(name)} is encrypted`);
  const entry: MutableEntry = {
    name,
    method: view.getUint16(10, true),
    crc32: view.getUint32(16, true),
    compressedSize: view.getUint32(20, true),
    size: view.getUint32(24, true),
    position: view.getUint32(42, true),
    limit: 0,
  };
  readZip64(viewOf(bytes.subarray(at + nameEnd, at + extraEnd)), entry, fail);
  checkSizes(entry, fail);
  return [entry, end];
}

/** Fields that do not fit in 32 bits stand in an extra field, in this order, if they stand there. */
function readZip64(extra: DataView, entry: MutableEntry, fail: Fail): void {
  const fields = (["size", "compressedSize", "position"] as const)
    .filter((field) => entry[field] === SATURATED);
  if (fields.length === 0) return;
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const length = extra.getUint16(at + 2, true);
    if (extra.getUint16(at, true) === ZIP64_EXTRA && length >= 8 * fields.length) {
      if (at + 4 + 8 * fields.length > extra.byteLength) break;
      fields.forEach((field, i) => entry[field] = u64(extra, at + 4 + 8 * i));
      return;
    }
    at += 4 + length;
  }
  throw fail(`its entry ${quoted(entry.name)} lacks its 64-bit sizes`);
}

function checkSizes({ name, method, size, compressedSize }: ZipEntry, fail: Fail): void {
  if (method !== 0 && method !== 8) {
    throw fail(`its entry ${quoted(name)} is compressed by method ${method}, not by deflate`);
  }
  const most = method === 0 ? compressedSize : compressedSize * MAX_DEFLATE_RATIO;
  if (size > most || method === 0 && size !== compressedSize) {
    throw fail(
      `its entry ${quoted(name)} claims ${size} bytes, which its ${compressedSize} cannot hold`,
    );
  }
}

/** Entries may not share bytes: that is how a small archive unpacks to an endless one. */
function layOut(entries: MutableEntry[], directory: number, fail: Fail): ZipEntry[] {
  const sorted = [...entries].sort((a, b) => a.position - b.position);
  sorted.forEach((entry, i) => {
    entry.limit = sorted[i + 1]?.position ?? directory;
    if (entry.position + LOCAL_HEADER_BYTES + entry.compressedSize > entry.limit) {
      throw fail(`its entry ${quoted(entry.name)} does not fit before byte ${entry.limit}`);
    }
  });
  return entries;
}

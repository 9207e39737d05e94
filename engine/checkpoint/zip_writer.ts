/**
 * Writes zip archives of stored entries, aligned so that a reader may map them into memory. Sizes
 * and positions beyond 32 bits take the fields of zip64. Source: PKWARE's APPNOTE 6.3.10.
 */
import { crc32 } from "node:zlib";

/** An entry; its content is asked for when its turn comes. */
export interface ZipContent {
  readonly name: string;
  read(): Uint8Array | Promise<Uint8Array>;
}

/** PyTorch's alignment of storages. */
const ALIGNMENT = 64;
/** The extra field that PyTorch pads with. */
const PADDING_ID = 0x4246;
const ZIP64_ID = 1;
const SATURATED = 0xffffffff;
const MAX_COUNT = 0xffff;
const VERSION = 20;
const VERSION_ZIP64 = 45;
/** Names are UTF-8. */
const FLAGS = 0x800;
/** 1 January 1980: the same content gives the same bytes at any time. */
const DATE = 0x21;

/** A written entry, as the directory lists it. */
export interface WrittenEntry {
  readonly name: Uint8Array;
  readonly crc32: number;
  readonly size: number;
  readonly position: number;
}

type Field = readonly [bytes: 2 | 4 | 8, value: number];

function encode(fields: readonly Field[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else if (bytes === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

const clipped = (value: number) => Math.min(value, SATURATED);
const version = (...values: number[]) =>
  values.some((value) => value >= SATURATED) ? VERSION_ZIP64 : VERSION;

/** The fields that both headers of an entry share. */
function common({ crc32, size, name }: WrittenEntry, extraBytes: number): Field[] {
  return [
    ...([[2, FLAGS], [2, 0], [2, 0], [2, DATE], [4, crc32]] as const),
    ...([[4, clipped(size)], [4, clipped(size)], [2, name.length], [2, extraBytes]] as const),
  ];
}

/** The header before an entry's content, which then begins at a multiple of the alignment. */
export function localHeader(entry: WrittenEntry): Uint8Array[] {
  const { name, size, position } = entry;
  const wide: Field[] = size >= SATURATED ? [[2, ZIP64_ID], [2, 16], [8, size], [8, size]] : [];
  const zip64 = encode(wide);
  const fixed = 30 + name.length + zip64.length + 4;
  const padding = (ALIGNMENT - (position + fixed) % ALIGNMENT) % ALIGNMENT;
  const extra = encode([[2, PADDING_ID], [2, padding]]);
  const fields = common(entry, zip64.length + extra.length + padding);
  const header = encode([[4, 0x04034b50], [2, version(size)], ...fields]);
  return [header, name, zip64, extra, new Uint8Array(padding)];
}

/** The directory, which ends the archive. */
export function directory(entries: readonly WrittenEntry[], position: number): Uint8Array[] {
  const parts = entries.flatMap((entry) => {
    const { name, size, position: at } = entry;
    const values: Field[] = [
      ...(size >= SATURATED ? [[8, size], [8, size]] as const : []),
      ...(at >= SATURATED ? [[8, at]] as const : []),
    ];
    const extra = values.length > 0
      ? encode([[2, ZIP64_ID], [2, 8 * values.length], ...values])
      : new Uint8Array(0);
    const needed = version(size, at);
    const fields: Field[] = [
      ...([[4, 0x02014b50], [2, needed], [2, needed]] as const),
      ...common(entry, extra.length),
      ...([[2, 0], [2, 0], [2, 0], [4, 0], [4, clipped(at)]] as const),
    ];
    return [encode(fields), name, extra];
  });
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return [...parts, ...end(entries.length, bytes, position)];
}

function end(count: number, bytes: number, position: number): Uint8Array[] {
  const fields: Field[] = [];
  if (count >= MAX_COUNT || bytes >= SATURATED || position >= SATURATED) {
    fields.push(
      ...([[4, 0x06064b50], [8, 44], [2, VERSION_ZIP64], [2, VERSION_ZIP64]] as const),
      ...([[4, 0], [4, 0], [8, count], [8, count], [8, bytes], [8, position]] as const),
      ...([[4, 0x07064b50], [4, 0], [8, position + bytes], [4, 1]] as const),
    );
  }
  const clippedCount = Math.min(count, MAX_COUNT);
  fields.push(
    ...([[4, 0x06054b50], [2, 0], [2, 0], [2, clippedCount], [2, clippedCount]] as const),
    ...([[4, clipped(bytes)], [4, clipped(position)], [2, 0]] as const),
  );
  return [encode(fields)];
}

/** The bytes of an archive, one content in memory at a time. */
export async function* zipArchive(contents: Iterable<ZipContent>): AsyncGenerator<Uint8Array> {
  const written: WrittenEntry[] = [];
  let position = 0;
  for (const { name, read } of contents) {
    const content = await read();
    const entry: WrittenEntry = {
      name: new TextEncoder().encode(name),
      crc32: crc32(content),
      size: content.length,
      position,
    };
    written.push(entry);
    for (const part of [...localHeader(entry), content]) {
      yield part;
      position += part.length;
    }
  }
  yield* directory(written, position);
}

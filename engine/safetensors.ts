/**
 * The safetensors file format: 8 bytes of header length, a JSON header, raw little-endian tensors.
 * Source: https://github.com/huggingface/safetensors#format
 */
import { writeFileAtomically } from "./atomic_file.ts";
import { type ByteSource, memorySource, openFile } from "./checkpoint/byte_source.ts";
import { type Fail, quoted, shortened, UserError } from "./errors.ts";
import { numel, type Shape, show } from "./shape.ts";

const BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;

/** Element types that a file may hold. */
export type StoredDType = keyof typeof BYTES;

/** Values of a stored tensor in row-major order. */
export type StoredData = Float32Array | Int32Array | Uint32Array | Uint8Array;

/** A tensor of a safetensors file. */
export interface StoredTensor {
  readonly dtype: StoredDType;
  readonly shape: Shape;
  /** Typed for F32, I32, U32 and U8; the raw bytes of every other type. */
  readonly data: StoredData;
}

/** The content of a safetensors file. */
export interface SafetensorsFile {
  /** By name, in the order of the data. */
  readonly tensors: Map<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A tensor to write; without `dtype` the array's type decides (F32, I32, U32 or U8). */
export type TensorToStore = Omit<StoredTensor, "dtype"> & { readonly dtype?: StoredDType };

/** Where a tensor lies in a file. */
export interface StoredEntry {
  readonly dtype: StoredDType;
  readonly shape: Shape;
  /** Position of its first byte in the file. */
  readonly position: number;
  /** Number of its bytes. */
  readonly bytes: number;
}

/** The header of a file: everything but the values. */
export interface SafetensorsHeader {
  /** By name, in the order of the data. */
  readonly tensors: Map<string, StoredEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Entry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** The format's own limit, which keeps a damaged length from asking for all memory. */
const MAX_HEADER = 100_000_000;

/**
 * Reads a safetensors file from a path, or from bytes in memory.
 *
 * @throws {UserError} where the file is missing, damaged or no safetensors file.
 */
export async function readSafetensors(source: string | Uint8Array): Promise<SafetensorsFile> {
  using bytes = typeof source === "string"
    ? await openFile(source)
    : memorySource("the safetensors data", source);
  const header = readSafetensorsHeader(bytes);
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, position, bytes: length }] of header.tensors) {
    tensors.set(name, { dtype, shape, data: typedView(dtype, bytes.read(position, length)) });
  }
  return { tensors, metadata: header.metadata };
}

/**
 * Reads what a file says about its tensors, and checks that they lie in it without overlaps.
 *
 * @throws {UserError} where it is damaged or no safetensors file.
 */
export function readSafetensorsHeader(source: ByteSource): SafetensorsHeader {
  const { name, size } = source;
  const fail = (reason: string) =>
    new UserError(`${name} is not a sound safetensors file: ${reason}.`);
  if (size < 8) throw fail(`it has ${size} bytes, fewer than the 8 of the header length`);
  const length = Number(new DataView(source.read(0, 8).buffer).getBigUint64(0, true));
  if (length > size - 8) {
    throw fail(`its header length is ${length}, but the file has ${size} bytes`);
  }
  if (length > MAX_HEADER) {
    throw fail(`its header length is ${length}, more than the format's ${MAX_HEADER}`);
  }
  const header = parseHeader(source.read(8, length), size - 8 - length, fail);
  const tensors = header.entries.map(({ name, dtype, shape, begin, end }) =>
    [name, { dtype, shape, position: 8 + length + begin, bytes: end - begin }] as const
  );
  return { tensors: new Map(tensors), metadata: header.metadata };
}

interface ParsedHeader {
  readonly entries: readonly Entry[];
  readonly metadata: Record<string, string>;
}

function typedView(dtype: StoredDType, bytes: Uint8Array<ArrayBuffer>): StoredData {
  switch (dtype) {
    case "F32":
      return new Float32Array(bytes.buffer);
    case "I32":
      return new Int32Array(bytes.buffer);
    case "U32":
      return new Uint32Array(bytes.buffer);
    default:
      return bytes;
  }
}

function parseHeader(bytes: Uint8Array, dataLength: number, fail: Fail): ParsedHeader {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw fail(`its header is no JSON (${shortened((error as Error).message, 200)})`);
  }
  if (!isRecord(json)) throw fail("its header is no JSON object");
  const { __metadata__: metadata = {}, ...rest } = json;
  if (!isRecord(metadata) || Object.values(metadata).some((v) => typeof v !== "string")) {
    throw fail("its __metadata__ holds more than text");
  }
  const entries = Object.entries(rest).map(([name, value]) => parseEntry(name, value, fail))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(entries, dataLength, fail);
  return { entries, metadata: metadata as Record<string, string> };
}

function parseEntry(name: string, value: unknown, fail: Fail): Entry {
  const { dtype, shape, data_offsets: offsets } = isRecord(value) ? value : {};
  if (typeof dtype !== "string" || !Object.hasOwn(BYTES, dtype)) {
    throw fail(`${quoted(name)} has the unknown element type ${short(dtype)}`);
  }
  if (!isSizes(shape)) throw fail(`${quoted(name)} has the shape ${short(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fail(`${quoted(name)} has the data offsets ${short(offsets)}`);
  }
  const [begin, end] = offsets;
  const bytes = numel(shape) * BYTES[dtype as StoredDType];
  if (end - begin !== bytes) {
    throw fail(
      `${quoted(name)} has ${end - begin} bytes, but ${dtype} ${short(shape)} needs ${bytes}`,
    );
  }
  return { name, dtype: dtype as StoredDType, shape, begin, end };
}

/** The format wants every byte of the data to belong to exactly one tensor. */
function checkLayout(entries: readonly Entry[], dataLength: number, fail: Fail): void {
  let end = 0;
  let previous = "the header";
  for (const entry of entries) {
    const name = quoted(entry.name);
    if (entry.end > dataLength) {
      throw fail(`${name} ends at byte ${entry.end} of ${dataLength} bytes of data`);
    }
    if (entry.begin < end) throw fail(`${name} overlaps ${previous}`);
    if (entry.begin > end) {
      throw fail(`${entry.begin - end} bytes before ${name} belong to no tensor`);
    }
    end = entry.end;
    previous = name;
  }
  if (end < dataLength) throw fail(`its last ${dataLength - end} bytes belong to no tensor`);
}

/** A value of the header as errors show it. */
function short(value: unknown): string {
  return shortened(JSON.stringify(value) ?? "undefined");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** A tensor that is written when its turn comes, so that no other has to be in memory. */
export interface TensorSource {
  readonly dtype: StoredDType;
  readonly shape: Shape;
  /** Its values, row-major and little-endian. */
  read(): Uint8Array | Promise<Uint8Array>;
}

/**
 * Writes a safetensors file, complete or not at all. Wider element types come first, so that each
 * tensor is aligned; otherwise the order is kept.
 *
 * @throws {RangeError} where a shape does not fit its data.
 * @throws {UserError} where the file cannot be written; an older file of that name then stays.
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, TensorToStore]>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const sources = [...tensors].map(([name, { data, shape, dtype = dtypeOf(data) }]) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    checkBytes(name, dtype, shape, bytes.length);
    return [name, { dtype, shape, read: () => bytes }] as const;
  });
  await streamSafetensors(path, sources, metadata);
}

/**
 * Writes a safetensors file as {@link writeSafetensors} does, asking for one tensor after the other.
 *
 * @throws {RangeError} where a shape does not fit its data.
 * @throws {UserError} where the file cannot be written; an older file of that name then stays.
 */
export async function streamSafetensors(
  path: string,
  tensors: Iterable<readonly [string, TensorSource]>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const list = [...tensors].sort(([, a], [, b]) => BYTES[b.dtype] - BYTES[a.dtype]);
  // Without a prototype, so that a tensor may have any name.
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let end = 0;
  for (const [name, { dtype, shape }] of list) {
    if (name in header) throw new RangeError(`${path}: ${quoted(name)} is there twice.`);
    header[name] = { dtype, shape, data_offsets: [end, end += numel(shape) * BYTES[dtype]] };
  }
  async function* chunks() {
    yield encodeHeader(header);
    for (const [name, tensor] of list) {
      const bytes = await tensor.read();
      checkBytes(name, tensor.dtype, tensor.shape, bytes.length);
      yield bytes;
    }
  }
  await writeFileAtomically(path, chunks());
}

function checkBytes(name: string, dtype: StoredDType, shape: Shape, bytes: number): void {
  const needed = numel(shape) * BYTES[dtype];
  if (needed === bytes) return;
  throw new RangeError(
    `${quoted(name)} has ${bytes} bytes, but ${dtype} ${show(shape)} needs ${needed}.`,
  );
}

function dtypeOf(data: StoredData): StoredDType {
  if (data instanceof Float32Array) return "F32";
  if (data instanceof Int32Array) return "I32";
  return data instanceof Uint32Array ? "U32" : "U8";
}

function encodeHeader(header: Record<string, unknown>): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * The safetensors file format: 8 bytes of header length, a JSON header, raw little-endian tensors.
 * Source: https://github.com/huggingface/safetensors#format
 */
import { writeFileAtomically } from "./atomic_file.ts";
import { UserError } from "./errors.ts";
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

interface Entry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

interface Header {
  readonly entries: readonly Entry[];
  readonly metadata: Record<string, string>;
}

/** The format's own limit, which keeps a damaged length from asking for all memory. */
const MAX_HEADER = 100_000_000;

/** Reads `length` bytes at `position`. */
type ReadAt = (position: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * Reads a safetensors file from a path, or from bytes in memory.
 *
 * @throws {UserError} where the file is missing, damaged or no safetensors file.
 */
export async function readSafetensors(source: string | Uint8Array): Promise<SafetensorsFile> {
  if (typeof source !== "string") {
    const readAt: ReadAt = (at, length) => Promise.resolve(source.slice(at, at + length));
    return await readFrom("the safetensors data", source.length, readAt);
  }
  using file = await open(source);
  const readAt: ReadAt = async (at, length) => {
    const bytes = new Uint8Array(length);
    await file.seek(at, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const count = await file.read(bytes.subarray(done));
      if (count === null) throw new UserError(`${source} became shorter while it was read.`);
      done += count;
    }
    return bytes;
  };
  return await readFrom(source, (await file.stat()).size, readAt);
}

async function open(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new UserError(`Cannot read ${path}: there is no such file.`, { cause: error });
    }
    throw error;
  }
}

async function readFrom(name: string, size: number, readAt: ReadAt): Promise<SafetensorsFile> {
  const fail = (reason: string) =>
    new UserError(`${name} is not a sound safetensors file: ${reason}.`);
  if (size < 8) throw fail(`it has ${size} bytes, fewer than the 8 of the header length`);
  const prefix = await readAt(0, 8);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER || length > size - 8) {
    throw fail(`its header length is ${length}, but the file has ${size} bytes`);
  }
  const header = parseHeader(await readAt(8, length), size - 8 - length, fail);
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape, begin, end } of header.entries) {
    const bytes = await readAt(8 + length + begin, end - begin);
    tensors.set(name, { dtype, shape, data: typedView(dtype, bytes) });
  }
  return { tensors, metadata: header.metadata };
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

type Fail = (reason: string) => UserError;

function parseHeader(bytes: Uint8Array, dataLength: number, fail: Fail): Header {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw fail(`its header is no JSON (${(error as Error).message})`);
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
    throw fail(`"${name}" has the unknown element type ${JSON.stringify(dtype)}`);
  }
  if (!isSizes(shape)) throw fail(`"${name}" has the shape ${JSON.stringify(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fail(`"${name}" has the data offsets ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets;
  const bytes = numel(shape) * BYTES[dtype as StoredDType];
  if (end - begin !== bytes) {
    throw fail(`"${name}" has ${end - begin} bytes, but ${dtype} ${show(shape)} needs ${bytes}`);
  }
  return { name, dtype: dtype as StoredDType, shape, begin, end };
}

/** The format wants every byte of the data to belong to exactly one tensor. */
function checkLayout(entries: readonly Entry[], dataLength: number, fail: Fail): void {
  let end = 0;
  let previous = "the header";
  for (const entry of entries) {
    if (entry.end > dataLength) {
      throw fail(`"${entry.name}" ends at byte ${entry.end} of ${dataLength} bytes of data`);
    }
    if (entry.begin < end) throw fail(`"${entry.name}" overlaps ${previous}`);
    if (entry.begin > end) {
      throw fail(`${entry.begin - end} bytes before "${entry.name}" belong to no tensor`);
    }
    end = entry.end;
    previous = `"${entry.name}"`;
  }
  if (end < dataLength) throw fail(`its last ${dataLength - end} bytes belong to no tensor`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
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
  const list = [...tensors].map(([name, tensor]) => checked(name, tensor))
    .sort((a, b) => BYTES[b.dtype] - BYTES[a.dtype]);
  const header: Record<string, unknown> = {};
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let end = 0;
  for (const { name, dtype, shape, bytes } of list) {
    if (Object.hasOwn(header, name)) throw new RangeError(`${path}: "${name}" is there twice.`);
    header[name] = { dtype, shape, data_offsets: [end, end += bytes.length] };
  }
  await writeFileAtomically(path, [encodeHeader(header), ...list.map(({ bytes }) => bytes)]);
}

function checked(name: string, tensor: TensorToStore) {
  const { data, shape } = tensor;
  const dtype = tensor.dtype ?? dtypeOf(data);
  const needed = numel(shape) * BYTES[dtype];
  if (needed !== data.byteLength) {
    throw new RangeError(
      `"${name}" has ${data.byteLength} bytes, but ${dtype} ${show(shape)} needs ${needed}.`,
    );
  }
  return { name, dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, needed) };
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

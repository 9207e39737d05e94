/** Reads arrays from HDF5 files by h5wasm, with its errors turned into sentences. */
import type { Dataset } from "h5wasm";
import { DataError } from "./errors.ts";

/** A numeric array of an HDF5 file. */
export interface HdfArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array;
}

/** An array to read: its name, the element type wanted, and whether the file must have it. */
export interface HdfRequest {
  readonly name: string;
  readonly as: "f32" | "u8";
  readonly optional?: boolean;
}

type Library = typeof import("h5wasm");
type Numbers = ArrayLike<number | bigint>;

const SIGNATURE = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
let library: Promise<Library> | undefined;
let files = 0;

/** Whether the bytes carry the HDF5 signature (at 0, 512, 1024, 2048, ...). */
export function isHdf5(bytes: Uint8Array): boolean {
  for (let at = 0; at + 8 <= bytes.length; at = at === 0 ? 512 : at * 2) {
    if (SIGNATURE.every((byte, i) => bytes[at + i] === byte)) return true;
  }
  return false;
}

/**
 * Reads the requested arrays and nothing else of an HDF5 file held in memory; chunked data may
 * pass gzip and shuffle filters. An optional array that the file lacks is missing in the result.
 *
 * @param path names the file in errors.
 * @throws {DataError} if the bytes are not HDF5, damaged, or lack an array of numbers.
 */
export async function readHdf5(
  path: string,
  bytes: Uint8Array,
  requests: readonly HdfRequest[],
): Promise<Map<string, HdfArray>> {
  if (!isHdf5(bytes)) {
    throw new DataError(`${path} is not an HDF5 file: it does not start with the HDF5 signature.`);
  }
  library ??= load();
  const { File, Dataset, ready } = await library;
  const { FS } = await ready;
  const name = `volume${files++}.h5`;
  FS.writeFile(name, bytes);
  let file: InstanceType<Library["File"]> | undefined;
  try {
    const opened = file = new File(name, "r");
    const arrays = new Map<string, HdfArray>();
    for (const request of requests) {
      const entry = opened.keys().includes(request.name) ? opened.get(request.name) : null;
      if (entry === null && request.optional) continue;
      if (entry === null && !opened.keys().includes(request.name)) {
        throw new DataError(
          `${path} has no dataset "${request.name}"; it has ${list(opened.keys())}.`,
        );
      }
      if (!(entry instanceof Dataset)) {
        throw new DataError(`The entry "${request.name}" of ${path} is not a readable dataset.`);
      }
      arrays.set(request.name, readDataset(path, request, entry));
    }
    return arrays;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`${path} is a damaged HDF5 file: ${rootCause(error)}.`);
  } finally {
    close(file);
    FS.unlink(name);
  }
}

async function load(): Promise<Library> {
  const h5wasm = await import("h5wasm");
  // Without its throwing handler the library prints its error stack and goes on with garbage.
  (await h5wasm.ready).activate_throwing_error_handler();
  return h5wasm;
}

function readDataset(path: string, request: HdfRequest, dataset: Dataset): HdfArray {
  const { shape, metadata } = dataset;
  const data: unknown = shape === null ? null : dataset.value;
  if (shape === null || !isNumbers(data) || (metadata.size > 1 && !metadata.littleEndian)) {
    throw new DataError(
      `Dataset "${request.name}" of ${path} is not an array of little-endian numbers.`,
    );
  }
  if (request.as === "f32") {
    return { shape, data: data instanceof Float32Array ? data : Float32Array.from(data, Number) };
  }
  return { shape, data: toBytes(path, request.name, data) };
}

function toBytes(path: string, name: string, data: Numbers): Uint8Array {
  if (data instanceof Uint8Array) return data;
  const bytes = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = Number(data[i]);
    bytes[i] = value;
    if (bytes[i] !== value) {
      throw new DataError(
        `Dataset "${name}" of ${path} has the value ${value}, which is no whole number in 0..255.`,
      );
    }
  }
  return bytes;
}

function isNumbers(data: unknown): data is Numbers {
  return ArrayBuffer.isView(data) && !(data instanceof DataView);
}

function close(file: { close(): unknown } | undefined): void {
  try {
    file?.close();
  } catch {
    // A damaged file may fail to close as well; the reason that matters was thrown before.
  }
}

/** The innermost message of an HDF5 error stack. */
function rootCause(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const frames = [...text.matchAll(/ in \w+\(\): (.+)$/gm)];
  return frames.at(-1)?.[1] ?? text.split("\n")[0] ?? "unknown reason";
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.map((n) => `"${n}"`).join(", ");
}

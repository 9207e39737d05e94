/** Opens checkpoints of any format. What a file is, its content tells, whatever its name. */
import { type Fail, quoted, UserError } from "../errors.ts";
import { readSafetensorsHeader } from "../safetensors.ts";
import type { Shape } from "../shape.ts";
import { type ByteSource, memorySource, openFile } from "./byte_source.ts";
import { CHECKPOINT_DTYPES, type CheckpointDType, TYPE_OF_SAFETENSORS } from "./dtypes.ts";
import type { PickleValue } from "./pickle_values.ts";
import { findTensors } from "./tensor_dictionary.ts";
import type { TensorView } from "./tensor_view.ts";
import { readTorchLegacy } from "./torch_legacy.ts";
import { readTorchZip } from "./torch_zip.ts";

/** A tensor of a checkpoint; its values stay in the file until they are asked for. */
export interface CheckpointTensor {
  /** Type of the elements, as PyTorch calls it. */
  readonly dtype: CheckpointDType;
  /** Sizes of each dimension. */
  readonly shape: Shape;
  /**
   * The values in row-major order, little-endian, in a buffer of their own.
   *
   * @throws {UserError} where the file is damaged.
   */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

/** File formats: `torch.save`'s zip archive and its format before PyTorch 1.6, and safetensors. */
export type CheckpointFormat = "torch-zip" | "torch-legacy" | "safetensors";

/** An open checkpoint. Only its index is in memory. */
export interface CheckpointFile extends Disposable {
  /** The path, for errors. */
  readonly name: string;
  /** What kind of file it is. */
  readonly format: CheckpointFormat;
  /** The tensors of the state dict by their keys, in the order of the file. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Names of further entries, such as the state of an optimiser, which are not read. */
  readonly others: readonly string[];
  /** Texts that a safetensors file carries. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Several tensors may show the same part of a file, and one may repeat it. All together may not be
 * larger than the file by more than this factor, so that a small file cannot fill the memory.
 */
const MAX_EXPANSION = 64;
/** For that bound, smaller files count as this large. */
const SMALL_FILE = 1 << 16;

const SAFETENSORS_HEADER = 0x7b;
const ZIP_SIGNATURES: readonly number[] = [0x04034b50, 0x06054b50];
const PICKLE_PROTOCOL = 0x80;

/**
 * Opens a checkpoint; dispose of it after use (`using checkpoint = await openCheckpoint(path)`).
 *
 * Reads `.pt` and `.pth` files of PyTorch without running anything that they contain: plain values
 * and tensors are taken, whatever else a pickle asks for is refused. Of dictionaries such as
 * `{"model": …}` or `{"state_dict": …}`, the inner one is taken.
 *
 * @param source a path, or the bytes of a file.
 * @throws {UserError} where the file is missing, damaged, of another format or unsafe.
 */
export async function openCheckpoint(source: string | Uint8Array): Promise<CheckpointFile> {
  const bytes = typeof source === "string"
    ? await openFile(source)
    : memorySource("the checkpoint", source);
  try {
    const close = () => bytes[Symbol.dispose]();
    return { name: bytes.name, ...readIndex(bytes), [Symbol.dispose]: close };
  } catch (error) {
    bytes[Symbol.dispose]();
    throw error;
  }
}

type Index = Omit<CheckpointFile, "name" | typeof Symbol.dispose>;

function readIndex(source: ByteSource): Index {
  const start = source.read(0, Math.min(source.size, 512));
  if (start[8] === SAFETENSORS_HEADER && start[6] === 0 && start[7] === 0) {
    return safetensorsIndex(source);
  }
  const fail: Fail = (reason) =>
    new UserError(`Cannot read ${source.name} as a PyTorch checkpoint: ${reason}.`);
  const signature = start.length < 4 ? 0 : new DataView(start.buffer).getUint32(0, true);
  if (ZIP_SIGNATURES.includes(signature)) {
    return torchIndex("torch-zip", readTorchZip(source, fail), source, fail);
  }
  if (start[0] === PICKLE_PROTOCOL) {
    return torchIndex("torch-legacy", readTorchLegacy(source, fail), source, fail);
  }
  throw new UserError(`${source.name} is no checkpoint: ${describeStart(source, start)}.`);
}

function describeStart({ size }: ByteSource, start: Uint8Array): string {
  if (size === 0) return "it is empty";
  const text = new TextDecoder("latin1").decode(start);
  if (text.slice(257, 262) === "ustar") {
    return "it is a tar archive, such as the first versions of PyTorch wrote, which is not supported";
  }
  const line = text.split(/[\r\n]/, 1)[0];
  const begins = /^[\x20-\x7e]{4,}$/.test(line) ? `, and begins with ${quoted(line)}` : "";
  return `it is neither a safetensors file nor a file of torch.save${begins}`;
}

function safetensorsIndex(source: ByteSource): Index {
  const { tensors: entries, metadata } = readSafetensorsHeader(source);
  const tensors = [...entries].map(([name, { dtype, shape, position, bytes }]) => {
    const read = () => readLater(() => source.read(position, bytes));
    return [name, { dtype: TYPE_OF_SAFETENSORS[dtype], shape, read }] as const;
  });
  return { format: "safetensors", tensors: new Map(tensors), others: [], metadata };
}

function torchIndex(
  format: CheckpointFormat,
  objects: PickleValue,
  source: ByteSource,
  fail: Fail,
): Index {
  const { tensors: views, others } = findTensors(objects, fail);
  checkExpansion([...views.values()], source.size, fail);
  const tensors = [...views].map(([name, view]) => {
    const { dtype, shape } = view;
    return [name, { dtype, shape, read: () => readLater(() => view.read()) }] as const;
  });
  return { format, tensors: new Map(tensors), others, metadata: {} };
}

function checkExpansion(views: readonly TensorView[], size: number, fail: Fail): void {
  const bytes = views.reduce((sum, view) => sum + view.cost, 0);
  if (bytes > MAX_EXPANSION * Math.max(size, SMALL_FILE)) {
    throw fail(
      `its ${views.length} tensors would take ${bytes} bytes, more than ${MAX_EXPANSION} times ` +
        `the file's ${size}`,
    );
  }
}

/** Errors of `read` come with the promise, and other work has its turn before. */
async function readLater<T>(read: () => T): Promise<T> {
  await Promise.resolve();
  return read();
}

/** Bytes of a tensor's values. */
export function tensorBytes({ dtype, shape }: Pick<CheckpointTensor, "dtype" | "shape">): number {
  return shape.reduce((product, size) => product * size, CHECKPOINT_DTYPES[dtype].bytes);
}

/** Tensors as PyTorch saves them: windows with strides onto storages, several of them onto one. */
import type { Fail } from "../errors.ts";
import { numel, type Shape, show, stridesOf } from "../shape.ts";
import { CHECKPOINT_DTYPES, type CheckpointDType } from "./dtypes.ts";
import { Made } from "./pickle_values.ts";

/** Where the bytes of a storage come from. */
export interface StorageContent {
  /** The `length` bytes that begin at `offset`. @throws {UserError} where they are damaged. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
}

/** The memory of one tensor or several, in the file. */
export class Storage extends Made {
  /** A storage of `bytes` bytes. */
  constructor(
    /** Type of the elements; bytes where the file leaves it to the tensors. */
    readonly dtype: CheckpointDType,
    readonly bytes: number,
    readonly content: StorageContent,
  ) {
    super();
  }
}

/** A tensor of a file. */
export class TensorView extends Made {
  /** First and last byte, relative to the storage, that hold values; none for an empty tensor. */
  private readonly begin: number;
  private readonly end: number;

  /**
   * The elements `offset + sum(index[d] * strides[d])` of a storage.
   *
   * @throws {UserError} where some of them lie outside of it.
   */
  constructor(
    private readonly storage: Storage,
    readonly dtype: CheckpointDType,
    offset: number,
    readonly shape: Shape,
    private readonly strides: readonly number[],
    fail: Fail,
  ) {
    super();
    const { bytes } = CHECKPOINT_DTYPES[dtype];
    if (shape.includes(0)) {
      this.begin = this.end = 0;
      return;
    }
    this.begin = offset * bytes;
    const last = shape.reduce((at, size, i) => at + (size - 1) * strides[i], offset);
    this.end = (last + 1) * bytes;
    if (this.end > storage.bytes) {
      throw fail(
        `a tensor ${show(shape)} of strides ${show(strides)} from element ${offset} reaches ` +
          `beyond its storage of ${storage.bytes / bytes} elements`,
      );
    }
  }

  /** Bytes that pass through memory to read it: of the window, or of its elements if they repeat. */
  get cost(): number {
    return Math.max(this.end - this.begin, numel(this.shape) * CHECKPOINT_DTYPES[this.dtype].bytes);
  }

  /**
   * The elements in row-major order, little-endian.
   *
   * @throws {UserError} where the file is damaged.
   */
  read(): Uint8Array<ArrayBuffer> {
    const { storage, begin, end, shape, strides } = this;
    if (begin === end) return new Uint8Array(0);
    const window = storage.content.read(begin, end - begin);
    const natural = stridesOf(shape);
    if (shape.every((size, i) => size === 1 || strides[i] === natural[i])) return window;
    return gather(window, CHECKPOINT_DTYPES[this.dtype].bytes, shape, strides);
  }
}

type Elements = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

/** Elements as integers of their width: copying floats could change the bits of a NaN. */
function elements(buffer: ArrayBuffer, width: number): Elements {
  switch (width) {
    case 1:
      return new Uint8Array(buffer);
    case 2:
      return new Uint16Array(buffer);
    case 4:
      return new Uint32Array(buffer);
    default:
      return new BigUint64Array(buffer);
  }
}

function gather(
  window: Uint8Array<ArrayBuffer>,
  width: number,
  shape: Shape,
  strides: readonly number[],
): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(numel(shape) * width);
  const from = elements(window.buffer, width);
  const to = elements(result.buffer, width);
  const inner = shape.length - 1;
  const index = new Array<number>(inner).fill(0);
  let start = 0;
  for (let at = 0; at < to.length;) {
    for (let i = 0; i < shape[inner]; i++) to[at++] = from[start + i * strides[inner]];
    for (let d = inner - 1; d >= 0; d--) {
      start += strides[d];
      if (++index[d] < shape[d]) break;
      start -= shape[d] * strides[d];
      index[d] = 0;
    }
  }
  return result;
}

/** Writes the pickle of a state dict as `torch.save` does, in protocol 2. */
import type { Shape } from "../shape.ts";
import { stridesOf } from "../shape.ts";

/** A tensor of the pickle; its values are kept elsewhere. */
export interface PickledTensor {
  readonly name: string;
  /** Class of its storage in the module `torch`, such as `FloatStorage`. */
  readonly storage: string;
  /** Under which its values are kept. */
  readonly key: string;
  readonly shape: Shape;
  /** Number of elements. */
  readonly count: number;
}

/** Codes of the operations that are written. Source: CPython's `pickletools.py`. */
const OP = {
  proto: 0x80,
  stop: 0x2e,
  mark: 0x28,
  emptyDict: 0x7d,
  emptyTuple: 0x29,
  tuple: 0x74,
  global: 0x63,
  reduce: 0x52,
  setItems: 0x75,
  setItem: 0x73,
  persistent: 0x51,
  newFalse: 0x89,
  text: 0x58,
  int1: 0x4b,
  int4: 0x4a,
  long1: 0x8a,
} as const;

class PickleWriter {
  private readonly parts: Uint8Array[] = [];

  op(...bytes: number[]): this {
    this.parts.push(Uint8Array.from(bytes));
    return this;
  }

  text(text: string): this {
    const bytes = new TextEncoder().encode(text);
    this.op(OP.text, ...littleEndian(bytes.length, 4)).parts.push(bytes);
    return this;
  }

  integer(value: number): this {
    if (value < 0x100) return this.op(OP.int1, value);
    if (value < 0x80000000) return this.op(OP.int4, ...littleEndian(value, 4));
    return this.op(OP.long1, 8, ...littleEndian(value, 8));
  }

  global(module: string, name: string): this {
    this.op(OP.global).parts.push(new TextEncoder().encode(`${module}\n${name}\n`));
    return this;
  }

  integers(values: readonly number[]): this {
    this.op(OP.mark);
    for (const value of values) this.integer(value);
    return this.op(OP.tuple);
  }

  orderedDict(): this {
    return this.global("collections", "OrderedDict").op(OP.emptyTuple, OP.reduce);
  }

  tensor({ storage, key, shape, count }: PickledTensor): this {
    this.global("torch._utils", "_rebuild_tensor_v2").op(OP.mark);
    this.op(OP.mark).text("storage").global("torch", storage).text(key).text("cpu");
    this.integer(count).op(OP.tuple, OP.persistent);
    this.integer(0).integers(shape).integers(stridesOf(shape));
    // Neither a gradient is asked for nor hooks are there.
    return this.op(OP.newFalse).orderedDict().op(OP.tuple, OP.reduce);
  }

  finish(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

/** The pickle of `{"model": OrderedDict(tensors)}`, the layout of the official checkpoints. */
export function pickleStateDict(tensors: Iterable<PickledTensor>): Uint8Array<ArrayBuffer> {
  const writer = new PickleWriter().op(OP.proto, 2, OP.emptyDict).text("model").orderedDict();
  writer.op(OP.mark);
  for (const tensor of tensors) writer.text(tensor.name).tensor(tensor);
  return writer.op(OP.setItems, OP.setItem, OP.stop).finish();
}

/** Makes checkpoints by hand: what `torch.save` would write, and what it never would. */
import { type Zippable, zipSync } from "fflate";
import { numel, type Shape, stridesOf } from "../engine/shape.ts";

const encoder = new TextEncoder();

/** The bytes of all parts, one after the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Little-endian bytes of a whole number. */
export function littleEndian(value: number | bigint, bytes: number): number[] {
  const bits = BigInt.asUintN(8 * bytes, BigInt(value));
  return Array.from({ length: bytes }, (_, i) => Number(bits >> BigInt(8 * i) & 0xffn));
}

/** A tensor in a pickle; by default it is contiguous and begins its storage. */
export interface Tensor {
  readonly key?: string;
  readonly storage?: string;
  readonly shape: Shape;
  readonly strides?: Shape;
  readonly offset?: number;
  /** Elements of the storage. */
  readonly count?: number;
  readonly location?: string;
}

/** Writes a pickle operation by operation. */
export class Pickle {
  private readonly parts: Uint8Array[] = [];

  constructor(protocol = 2) {
    this.op(0x80, protocol);
  }

  op(...bytes: number[]): this {
    this.parts.push(Uint8Array.from(bytes));
    return this;
  }

  ascii(text: string): this {
    this.parts.push(encoder.encode(text));
    return this;
  }

  text(text: string): this {
    const bytes = encoder.encode(text);
    this.op(0x58, ...littleEndian(bytes.length, 4)).parts.push(bytes);
    return this;
  }

  int(value: number): this {
    return this.op(0x4a, ...littleEndian(value, 4));
  }

  ints(values: readonly number[]): this {
    this.op(0x28);
    for (const value of values) this.int(value);
    return this.op(0x74);
  }

  global(module: string, name: string): this {
    return this.ascii(`c${module}\n${name}\n`);
  }

  /** The identity of a storage; legacy files add what part of it is meant. */
  storage({ key = "0", storage = "FloatStorage", shape, count, location }: Tensor, part?: string) {
    this.op(0x28).text("storage").global("torch", storage).text(key).text(location ?? "cpu");
    this.int(count ?? numel(shape));
    if (part === "none") this.op(0x4e);
    return this.op(0x74, 0x51);
  }

  /** A tensor as `_rebuild_tensor_v2` gets it. */
  tensor(tensor: Tensor, part?: string): this {
    const { shape, strides = stridesOf(shape), offset = 0 } = tensor;
    this.global("torch._utils", "_rebuild_tensor_v2").op(0x28).storage(tensor, part);
    this.int(offset).ints(shape).ints(strides).op(0x89);
    return this.global("collections", "OrderedDict").op(0x29, 0x52, 0x74, 0x52);
  }

  /** A dictionary of what `fill` writes, keys and values in turns. */
  dict(fill: (pickle: this) => void): this {
    this.op(0x7d, 0x28);
    fill(this);
    return this.op(0x75);
  }

  end(): Uint8Array<ArrayBuffer> {
    return concat([...this.parts, Uint8Array.of(0x2e)]);
  }
}

/** The pickle of a dictionary of tensors. */
export function tensorsPickle(tensors: Readonly<Record<string, Tensor>>, part?: string) {
  return new Pickle().dict((p) => {
    for (const [name, tensor] of Object.entries(tensors)) p.text(name).tensor(tensor, part);
  }).end();
}

/** The bytes of f32 values. */
export const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

/** A zip archive with a pickle and storages, packed by `fflate`. */
export function torchZip(
  pickle: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>> = {},
  { level = 0, prefix = "archive/", more = {} as Zippable }: {
    level?: 0 | 6;
    prefix?: string;
    more?: Zippable;
  } = {},
): Uint8Array<ArrayBuffer> {
  const files: Zippable = { [`${prefix}data.pkl`]: [pickle, { level }] };
  for (const [key, bytes] of Object.entries(storages)) {
    files[`${prefix}data/${key}`] = [bytes, { level }];
  }
  return zipSync({ ...files, [`${prefix}version`]: encoder.encode("3\n"), ...more });
}

/** A file as PyTorch wrote it before version 1.6. */
export function legacyFile(
  pickle: Uint8Array,
  storages: readonly (readonly [key: string, count: number, bytes: Uint8Array])[],
): Uint8Array<ArrayBuffer> {
  const magic = new Pickle().op(0x8a, 10, ...littleEndian(0x1950a86a20f9469cfc6cn, 10)).end();
  const version = new Pickle().op(0x4d, ...littleEndian(1001, 2)).end();
  const machine = new Pickle().dict((p) => p.text("little_endian").op(0x88)).end();
  const keys = new Pickle().op(0x5d, 0x28);
  for (const [key] of storages) keys.text(key);
  const data = storages.flatMap(([, count, bytes]) => [
    Uint8Array.from(littleEndian(count, 8)),
    bytes,
  ]);
  return concat([magic, version, machine, pickle, keys.op(0x65).end(), ...data]);
}

/**
 * The classes and functions that PyTorch's pickles may name, and what stands for their results here.
 * The list is that of `torch.load(weights_only=True)`, without sparse and quantised tensors and with all
 * plain values.
 */
import type { Fail } from "../errors.ts";
import type { PickleHost } from "./pickle_machine.ts";
import { CHECKPOINT_DTYPES, type CheckpointDType, dtypeNamed, TYPE_OF_STORAGE } from "./dtypes.ts";
import {
  type Dictionary,
  Global,
  Made,
  type PickleValue,
  Tuple,
  typeName,
} from "./pickle_values.ts";
import { Storage, TensorView } from "./tensor_view.ts";

/** What a pickle says about a storage that is kept outside of it. */
export interface StorageId {
  /** `undefined` where the storage holds bytes of any type. */
  readonly dtype: CheckpointDType | undefined;
  readonly key: string;
  /** Number of elements, or of bytes. */
  readonly count: number;
  /** The part that is meant: its first element and its length (files before PyTorch 0.4). */
  readonly part?: { readonly offset: number; readonly count: number };
}

/** Finds the storage of an identity. @throws {UserError} where it is not in the file. */
export type FindStorage = (id: StorageId) => Storage;

/** PyTorch itself allows 64. */
const MAX_RANK = 64;

/** A value of which nothing needs to be known but that it is there. */
class Opaque extends Made {}

type Args = readonly PickleValue[];
type Call = (args: Args, host: TorchHost) => PickleValue;

/** Elements are moved one by one, which is work that the caller has to count. */
function pairsOf(args: Args, host: TorchHost): Dictionary {
  const [source] = args;
  if (source === undefined || source instanceof Map && source.size === 0) return new Map();
  if (!Array.isArray(source) || args.length !== 1) throw host.unexpected("a list of pairs", source);
  host.count(source.length);
  return new Map(source.map((pair) => {
    const items = pair instanceof Tuple ? pair.items : pair;
    if (!Array.isArray(items) || items.length !== 2) throw host.unexpected("a pair", pair);
    if (typeof items[0] !== "string") throw host.unexpected("a key", items[0]);
    return [items[0], items[1]] as const;
  }));
}

const rebuildTensor: Call = ([storage, offset, size, stride], host) =>
  host.tensor(storage, undefined, offset, size, stride);

/** Arguments: storage, offset, size, strides, requires_grad, hooks, dtype. */
const rebuildTyped: Call = ([storage, offset, size, stride, , , dtype], host) =>
  host.tensor(storage, dtype, offset, size, stride);

const sameTensor: Call = ([data], host) => {
  if (!(data instanceof TensorView)) throw host.unexpected("a tensor", data);
  return data;
};

/** Arguments: the function, the class of the result, the function's arguments, attributes. */
const rebuildFromType: Call = ([callee, , args], host) => {
  if (!(callee instanceof Global)) throw host.unexpected("a function", callee);
  if (!(args instanceof Tuple)) throw host.unexpected("a tuple", args);
  if (callee.name === "torch._tensor._rebuild_from_type_v2") {
    throw host.unexpected("another function", callee);
  }
  return host.call(callee, args.items);
};

const opaque: Call = () => new Opaque();

/** Functions, by their names in all versions. */
const CALLS: ReadonlyMap<string, Call> = new Map<string, Call>([
  ["collections.OrderedDict", pairsOf],
  ["collections.Counter", opaque],
  ["_codecs.encode", opaque],
  ...["set", "frozenset", "bytes", "bytearray", "complex"].flatMap((name) => [
    [`__builtin__.${name}`, opaque] as const,
    [`builtins.${name}`, opaque] as const,
  ]),
  ["torch.Size", ([size], host) => new Tuple(host.sizes(size))],
  ["torch.device", opaque],
  ["torch.serialization._get_layout", opaque],
  ["torch._utils._rebuild_tensor", rebuildTensor],
  ["torch._utils._rebuild_tensor_v2", rebuildTensor],
  ["torch._utils._rebuild_tensor_v3", rebuildTyped],
  ["torch._utils._rebuild_parameter", sameTensor],
  ["torch._utils._rebuild_parameter_with_state", sameTensor],
  ["torch._tensor._rebuild_from_type_v2", rebuildFromType],
]);

/** Classes that are named as types only. */
const TYPES: ReadonlySet<string> = new Set([
  "torch.Tensor",
  "torch.nn.parameter.Parameter",
  "torch.nn.Parameter",
]);

const UNTYPED: ReadonlySet<string> = new Set([
  "torch.UntypedStorage",
  "torch.storage.UntypedStorage",
  "torch.storage._UntypedStorage",
]);

const STORAGE = /^torch\.(?:cuda\.)?(\w+Storage)$/;
const DTYPE = /^torch\.(\w+)$/;

const storageType = (name: string) => TYPE_OF_STORAGE.get(STORAGE.exec(name)?.[1] ?? "");
const dtypeOf = (name: string) => dtypeNamed(DTYPE.exec(name)?.[1] ?? "");

/** Reads PyTorch's objects out of a pickle. */
export class TorchHost implements PickleHost {
  private copied = 0;

  /** A host that finds storages by `find`. */
  constructor(private readonly find: FindStorage, private readonly fail: Fail) {}

  /** Whether a name is on the list. */
  knows(name: string): boolean {
    return CALLS.has(name) || TYPES.has(name) || UNTYPED.has(name) ||
      storageType(name) !== undefined || dtypeOf(name) !== undefined;
  }

  /** The value that stands for the result of a call. */
  call({ name }: Global, args: Args): PickleValue {
    const call = CALLS.get(name);
    if (!call) throw this.fail(`it calls ${name}, which is only known as a type`);
    return call(args, this);
  }

  /** The storage of an identity `("storage", type, key, location, count, part)`. */
  persistent(id: PickleValue): PickleValue {
    const [kind, type, key, location, count, part = null] = id instanceof Tuple ? id.items : [];
    if (kind !== "storage" || typeof key !== "string" || typeof location !== "string") {
      throw this.unexpected("a storage", id);
    }
    if (!(type instanceof Global)) throw this.unexpected("the type of a storage", type);
    const dtype = storageType(type.name);
    if (dtype === undefined && !UNTYPED.has(type.name)) {
      throw this.unexpected("the type of a storage", type);
    }
    const common = { dtype, key, count: this.size(count) };
    if (part === null) return this.find(common);
    const [, offset, length] = part instanceof Tuple ? part.items : [];
    return this.find({ ...common, part: { offset: this.size(offset), count: this.size(length) } });
  }

  /** A tensor on a storage. */
  tensor(
    storage: PickleValue | undefined,
    type: PickleValue | undefined,
    offset: PickleValue | undefined,
    size: PickleValue | undefined,
    stride: PickleValue | undefined,
  ): TensorView {
    if (!(storage instanceof Storage)) throw this.unexpected("a storage", storage);
    let { dtype } = storage;
    if (type !== undefined) {
      const named = type instanceof Global ? dtypeOf(type.name) : undefined;
      if (!named) throw this.unexpected("an element type", type);
      dtype = named;
    }
    const [shape, strides] = [this.sizes(size), this.sizes(stride)];
    if (shape.length !== strides.length) throw this.unexpected("a stride for each size", stride);
    return new TensorView(storage, dtype, this.size(offset), shape, strides, this.fail);
  }

  /** Sizes, offsets and strides: whole and not negative. */
  sizes(value: PickleValue | undefined): number[] {
    const items = value instanceof Tuple ? value.items : value;
    if (!Array.isArray(items)) throw this.unexpected("a tuple of sizes", value);
    if (items.length > MAX_RANK) throw this.fail(`it has a tensor of ${items.length} dimensions`);
    return items.map((item) => this.size(item));
  }

  private size(value: PickleValue | undefined): number {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.unexpected("a size", value);
  }

  /** Counts elements that a call copies: without a bound, a short pickle could copy for hours. */
  count(elements: number): void {
    this.copied += elements;
    if (this.copied > 1 << 22) throw this.fail("it copies lists of millions of elements");
  }

  /** The error where another value than `wanted` is found. */
  unexpected(wanted: string, value: PickleValue | undefined) {
    const found = value === undefined ? "nothing" : typeName(value);
    return this.fail(`it has ${found} in the place of ${wanted}`);
  }
}

/** Bytes of `count` elements of a storage. */
export function storageBytes({ dtype, count }: StorageId): number {
  return count * CHECKPOINT_DTYPES[dtype ?? "uint8"].bytes;
}

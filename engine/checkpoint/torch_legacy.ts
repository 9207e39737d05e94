/**
 * The format of `torch.save` before PyTorch 1.6: five pickles (a magic number, the version, the
 * machine, the objects, the keys of the storages), then each storage after its number of elements.
 * Source: `_legacy_load` in PyTorch's `serialization.py`.
 */
import { type Fail, quoted } from "../errors.ts";
import type { ByteSource } from "./byte_source.ts";
import type { PickleValue } from "./pickle_values.ts";
import { Storage } from "./tensor_view.ts";
import { storageBytes, type StorageId, TorchHost } from "./torch_globals.ts";
import { unpickle } from "./unpickler.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const VERSION = 1001;

interface Root {
  readonly id: StorageId;
  /** Position of the first byte; unknown until the list of storages is read. */
  position?: number;
}

/** The storages that the objects name, before it is known where they lie. */
class LegacyStorages {
  private readonly roots = new Map<string, Root>();

  constructor(private readonly source: ByteSource, private readonly fail: Fail) {}

  find(id: StorageId): Storage {
    const root = this.roots.get(id.key) ?? { id };
    this.roots.set(id.key, root);
    if (root.id.count !== id.count || root.id.dtype !== id.dtype) {
      throw this.fail(`its storage ${quoted(id.key)} has two sizes or types`);
    }
    const dtype = id.dtype ?? "uint8";
    const part = id.part ?? { offset: 0, count: id.count };
    if (part.offset + part.count > id.count) {
      throw this.fail(`it takes a part beyond its storage ${quoted(id.key)}`);
    }
    const begin = storageBytes({ ...id, count: part.offset });
    const read = (offset: number, length: number) =>
      this.source.read(root.position! + begin + offset, length);
    return new Storage(dtype, storageBytes({ ...id, count: part.count }), { read });
  }

  /** Finds out where each storage lies. */
  locate(keys: PickleValue, start: number): void {
    if (!Array.isArray(keys)) throw this.fail("its list of storages is missing");
    let position = start;
    for (const key of keys) {
      const root = typeof key === "string" ? this.roots.get(key) : undefined;
      if (!root || root.position !== undefined) {
        throw this.fail("its list of storages does not fit its tensors");
      }
      const bytes = storageBytes(root.id);
      if (bytes + 8 > this.source.size - position) {
        throw this.fail(`it ends within the ${bytes} bytes of its storage ${quoted(root.id.key)}`);
      }
      const count = new DataView(this.source.read(position, 8).buffer).getBigInt64(0, true);
      if (count !== BigInt(root.id.count)) {
        throw this.fail(
          `its storage ${quoted(root.id.key)} has ${count} elements instead of ${root.id.count}`,
        );
      }
      root.position = position + 8;
      position = root.position + bytes;
    }
    const lost = [...this.roots.values()].find((root) => root.position === undefined);
    if (lost) throw this.fail(`its storage ${quoted(lost.id.key)} is missing`);
  }
}

/**
 * Reads the objects of a file; their storages stay in it.
 *
 * @throws {UserError} where it is damaged, none of PyTorch's, or asks for more than tensors.
 */
export function readTorchLegacy(source: ByteSource, fail: Fail): PickleValue {
  const storages = new LegacyStorages(source, fail);
  const host = new TorchHost((id) => storages.find(id), fail);
  let position = 0;
  const next = () => {
    const { value, end } = unpickle(source, position, host, fail);
    position = end;
    return value;
  };
  if (next() !== MAGIC) throw fail("it is a pickle, but not one that torch.save wrote");
  const version = next();
  if (version !== VERSION) throw fail(`its format is not version ${VERSION}`);
  const machine = next();
  if (machine instanceof Map && machine.get("little_endian") === false) {
    throw fail("its byte order is big-endian");
  }
  const objects = next();
  storages.locate(next(), position);
  return objects;
}

/**
 * The zip format of `torch.save` since PyTorch 1.6: `PREFIX/data.pkl` holds the objects,
 * `PREFIX/data/KEY` the storages. Source: https://pytorch.org/docs/stable/notes/serialization.html
 */
import { type Fail, quoted } from "../errors.ts";
import { type ByteSource, memorySource } from "./byte_source.ts";
import type { PickleValue } from "./pickle_values.ts";
import { Storage } from "./tensor_view.ts";
import { storageBytes, type StorageId, TorchHost } from "./torch_globals.ts";
import { unpickle } from "./unpickler.ts";
import { ZipArchive } from "./zip_archive.ts";

const PICKLE = /^(?:.*\/)?data\.pkl$/s;

/**
 * Reads the objects of an archive; their storages stay in the file.
 *
 * @throws {UserError} where it is damaged, none of PyTorch's, or asks for more than tensors.
 */
export function readTorchZip(source: ByteSource, fail: Fail): PickleValue {
  const archive = new ZipArchive(source, fail);
  const pickles = [...archive.entries.keys()].filter((name) => PICKLE.test(name));
  if (pickles.length !== 1) {
    throw fail(`it is a zip archive with ${pickles.length} entries data.pkl instead of one`);
  }
  const prefix = pickles[0].slice(0, -"data.pkl".length);
  checkByteOrder(archive, prefix, fail);
  const host = new TorchHost((id) => findStorage(archive, prefix, id, fail), fail);
  const pickle = archive.read(archive.entries.get(pickles[0])!);
  return unpickle(memorySource(source.name, pickle), 0, host, fail).value;
}

function checkByteOrder(archive: ZipArchive, prefix: string, fail: Fail): void {
  const entry = archive.entries.get(`${prefix}byteorder`);
  if (!entry) return;
  const order = new TextDecoder().decode(archive.read(entry, 0, Math.min(entry.size, 16)));
  if (order !== "little") throw fail(`its byte order is ${quoted(order)}, not "little"`);
}

function findStorage(archive: ZipArchive, prefix: string, id: StorageId, fail: Fail): Storage {
  const name = `${prefix}data/${id.key}`;
  const entry = archive.entries.get(name);
  if (!entry) throw fail(`its entry ${quoted(name)} is missing`);
  const bytes = storageBytes(id);
  if (entry.size !== bytes) {
    throw fail(`its entry ${quoted(name)} has ${entry.size} bytes instead of ${bytes}`);
  }
  const read = (offset: number, length: number) => archive.read(entry, offset, length);
  return new Storage(id.dtype ?? "uint8", bytes, { read });
}

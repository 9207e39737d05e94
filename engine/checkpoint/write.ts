/** Writes checkpoints that other programs read: safetensors, and `.pt` for PyTorch. */
import { basename } from "node:path";
import { writeFileAtomically } from "../atomic_file.ts";
import { quoted, UserError } from "../errors.ts";
import { streamSafetensors } from "../safetensors.ts";
import { numel, show } from "../shape.ts";
import { CHECKPOINT_DTYPES } from "./dtypes.ts";
import { type CheckpointTensor, tensorBytes } from "./open.ts";
import { type PickledTensor, pickleStateDict } from "./pickle_writer.ts";
import { zipArchive, type ZipContent } from "./zip_writer.ts";

/** Tensors to write, by name; each is read when its turn comes. */
export type TensorsToWrite = Iterable<readonly [string, CheckpointTensor]>;

type Writer = (
  path: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>>,
) => Promise<void>;

const WRITERS: Readonly<Record<string, Writer>> = {
  ".safetensors": writeAsSafetensors,
  ".pt": writeAsTorch,
  ".pth": writeAsTorch,
};

/**
 * Writes a checkpoint, complete or not at all, with one tensor in memory at a time.
 *
 * The extension decides the format: `.safetensors`, or `.pt` and `.pth` for what `torch.load` opens
 * (PyTorch 1.6 or later, also with `weights_only=True`): `{"model": OrderedDict}`, the layout of the
 * official checkpoints.
 *
 * @param metadata texts for a safetensors file; a `.pt` file has no place for them.
 * @throws {UserError} for another extension, for a type that the format lacks, and where the file
 * cannot be written; an older file of that name then stays.
 */
export async function writeCheckpoint(
  path: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  await writerOf(path)(path, tensors, metadata);
}

/** The writer for a path. @throws {UserError} where its extension is none of a format. */
function writerOf(path: string): Writer {
  const extension = /\.[^./\\]*$/.exec(path)?.[0].toLowerCase() ?? "";
  const writer = Object.hasOwn(WRITERS, extension) ? WRITERS[extension] : undefined;
  if (!writer) {
    throw new UserError(
      `Cannot tell the format of ${path}: its extension must be ${
        Object.keys(WRITERS).join(", ").replace(/, (?=[^,]*$)/, " or ")
      }.`,
    );
  }
  return writer;
}

async function writeAsSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const sources = [...tensors].map(([name, tensor]) => {
    const { dtype, shape } = tensor;
    const { safetensors } = CHECKPOINT_DTYPES[dtype];
    return [name, { dtype: safetensors, shape, read: () => tensor.read() }] as const;
  });
  await streamSafetensors(path, sources, metadata);
}

async function writeAsTorch(path: string, tensors: TensorsToWrite): Promise<void> {
  const list = [...new Map(tensors)];
  const pickled = list.map(([name, { dtype, shape }], i): PickledTensor => {
    const { storage } = CHECKPOINT_DTYPES[dtype];
    if (storage === undefined) {
      throw new UserError(
        `Cannot write ${path}: ${quoted(name)} is ${dtype}, for which .pt files have no storage; ` +
          ".safetensors has one.",
      );
    }
    return { name, storage, key: String(i), shape, count: numel(shape) };
  });
  const prefix = basename(path).replace(/\.[^.]*$/, "") || "archive";
  const text = (content: string) => () => new TextEncoder().encode(content);
  const contents: ZipContent[] = [
    { name: `${prefix}/data.pkl`, read: () => pickleStateDict(pickled) },
    { name: `${prefix}/byteorder`, read: text("little") },
    ...list.map(([name, tensor], i): ZipContent => ({
      name: `${prefix}/data/${i}`,
      read: () => checkedRead(name, tensor),
    })),
    { name: `${prefix}/version`, read: text("3\n") },
  ];
  await writeFileAtomically(path, zipArchive(contents));
}

async function checkedRead(name: string, tensor: CheckpointTensor): Promise<Uint8Array> {
  const bytes = await tensor.read();
  if (bytes.length === tensorBytes(tensor)) return bytes;
  const { dtype, shape } = tensor;
  throw new RangeError(
    `${quoted(name)} has ${bytes.length} bytes, but ${dtype} ${show(shape)} needs ${
      tensorBytes(tensor)
    }.`,
  );
}

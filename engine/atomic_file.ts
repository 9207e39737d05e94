/** Files that are either complete or not there: written under another name, then renamed. */
import { UserError } from "./errors.ts";

/**
 * Writes `chunks` to `path` so that a reader, or a process that is killed, never sees half a file. Of
 * several writes at the same time, the file of the one that ends last stays. A device or a pipe, such
 * as /dev/null, is written to as it is.
 *
 * @throws {UserError} where the disk is full or the folder is missing or not writable; what was at
 * `path` before is then still there, and nothing else is left behind.
 */
export async function writeFileAtomically(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  try {
    // A rename would put a file in the place of the device.
    if (await isDevice(path)) await writeChunks(path, chunks);
    else await replace(path, chunks);
  } catch (error) {
    throw explain(error, path);
  }
}

async function isDevice(path: string): Promise<boolean> {
  const found = await Deno.stat(path).catch(() => undefined);
  return found !== undefined && !found.isFile && !found.isDirectory;
}

/** Files begun by this process: writes to one path at the same time need names of their own. */
let begun = 0;

async function replace(path: string, chunks: Parameters<typeof writeChunks>[1]): Promise<void> {
  const temporary = `${path}.${Deno.pid}.${begun++}.tmp`;
  try {
    // The rename may reach the disk before the data does, unless the data is there already.
    await writeChunks(temporary, chunks, (file) => file.syncData());
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

async function writeChunks(
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  finish?: (file: Deno.FsFile) => Promise<void>,
): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for await (const chunk of chunks) {
    for (let done = 0; done < chunk.length;) done += await file.write(chunk.subarray(done));
  }
  await finish?.(file);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  ENOENT: "its folder does not exist",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  ENAMETOOLONG: "its name is too long",
  EROFS: "the file system is read-only",
};

/** The error of a file that cannot be written: a sentence, where the system gave a reason. */
export function explain(error: unknown, path: string): unknown {
  const reason = REASONS[(error as { code?: string }).code ?? ""];
  return reason ? new UserError(`Cannot write ${path}: ${reason}.`, { cause: error }) : error;
}

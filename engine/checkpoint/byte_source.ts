/** Bytes that are read where they are needed: of a file, or of an array in memory. */
import { UserError } from "../errors.ts";

/** Bytes of a known number, any part of which can be read at any time. */
export interface ByteSource extends Disposable {
  /** What errors call it, such as the path. */
  readonly name: string;
  /** Number of bytes. */
  readonly size: number;
  /**
   * A copy of `length` bytes at `position`, all of which lie within the source.
   *
   * @throws {UserError} where the file has been closed, or has become shorter since it was opened.
   */
  read(position: number, length: number): Uint8Array<ArrayBuffer>;
}

/** The sentence for each way in which a file cannot be opened. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "there is no such file",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  ELOOP: "its links go round in a circle",
  ENAMETOOLONG: "its name is too long",
};

/**
 * Opens a file.
 *
 * @throws {UserError} where it is missing, not readable or no file.
 */
export async function openFile(path: string): Promise<ByteSource> {
  try {
    // Asked before it is opened, because opening a pipe would wait for its other end.
    const { isFile } = await Deno.stat(path);
    if (!isFile) throw new UserError(`Cannot read ${path}: it is not a file.`);
    const file = await Deno.open(path);
    return new FileSource(path, file, (await file.stat()).size);
  } catch (error) {
    const reason = REASONS[(error as { code?: string }).code ?? ""];
    throw reason ? new UserError(`Cannot read ${path}: ${reason}.`, { cause: error }) : error;
  }
}

class FileSource implements ByteSource {
  private closed = false;

  constructor(
    readonly name: string,
    private readonly file: Deno.FsFile,
    readonly size: number,
  ) {}

  read(position: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.closed) {
      throw new UserError(`${this.name} has been closed: nothing can be read of it.`);
    }
    const bytes = new Uint8Array(length);
    // Without waiting in between: reads of several tensors may be under way at once.
    this.file.seekSync(position, Deno.SeekMode.Start);
    for (let done = 0; done < length;) {
      const count = this.file.readSync(bytes.subarray(done));
      if (count === null) throw new UserError(`${this.name} became shorter while it was read.`);
      done += count;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    if (!this.closed) this.file.close();
    this.closed = true;
  }
}

/** Takes bytes in memory as a source. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.length,
    read: (position, length) => bytes.slice(position, position + length) as Uint8Array<ArrayBuffer>,
    [Symbol.dispose]: () => {},
  };
}

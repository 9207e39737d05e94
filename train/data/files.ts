/** Whole-file reading with errors that name the file, and hashes. */
import { DataError, ioReason } from "./errors.ts";

/**
 * The bytes of a file.
 *
 * @throws {DataError} if it cannot be read.
 */
export async function readBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    throw new DataError(`Cannot read ${path}: ${ioReason(error)}.`);
  }
}

/** SHA-256 over names, sizes and contents of files, given by their paths inside a folder. */
export async function fingerprintOf(root: string, paths: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const path of paths) {
    const bytes = await readBytes(`${root}/${path}`);
    lines.push(`${path} ${bytes.length} ${await sha256(bytes)}`);
  }
  return await sha256(lines.join("\n"));
}

/** SHA-256 of bytes or of UTF-8 text, as hexadecimal digits. */
export async function sha256(data: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (b) => b.toString(16).padStart(2, "0")).join("");
}

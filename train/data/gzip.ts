/** Gzip by the runtime's zlib, which verifies length and checksum and reads several members. */
import { gunzipSync, gzipSync } from "node:zlib";
import { DataError } from "./errors.ts";

/** Whether the bytes carry the gzip signature. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Decompresses.
 *
 * @param path names the file in errors.
 * @throws {DataError} if the data are cut short or fail their checksum.
 */
export function gunzip(path: string, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(gunzipSync(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DataError(`${path} is a damaged gzip file: ${reason}.`);
  }
}

/** Compresses; equal input gives equal output. */
export function gzip(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(gzipSync(bytes));
}

/** Reads the entries of a zip archive, whole or in parts, and checks them against their CRC-32. */
import { crc32 } from "node:zlib";
import { Inflate } from "fflate";
import { type Fail, quoted } from "../errors.ts";
import type { ByteSource } from "./byte_source.ts";
import { LOCAL_HEADER_BYTES, readZipDirectory, type ZipEntry } from "./zip_directory.ts";

const LOCAL_SIGNATURE = 0x04034b50;
const DEFLATED = 8;
/** Bytes that are checked, or inflated, at a time. */
const CHUNK = 1 << 20;
/** Deflate may turn this much into a thousand times as much, which is in memory at once. */
const INFLATE_CHUNK = 1 << 14;

/** An archive; reading an entry needs memory for what is asked for, not for the archive. */
export class ZipArchive {
  /** Entries by name, in the order of the directory. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  private readonly intact = new Set<ZipEntry>();
  /** Parts of a compressed entry can only be had from all of it: the latest one is kept. */
  private inflated:
    | { readonly entry: ZipEntry; readonly content: Uint8Array<ArrayBuffer> }
    | undefined;

  /** Reads the directory. @throws {UserError} where it is damaged. */
  constructor(private readonly source: ByteSource, private readonly fail: Fail) {
    this.entries = new Map(readZipDirectory(source, fail).map((entry) => [entry.name, entry]));
  }

  /**
   * The `length` bytes of an entry's content that begin at `offset`; all of it by default.
   *
   * @throws {UserError} where the entry is damaged, be it in another part.
   */
  read(entry: ZipEntry, offset = 0, length: number = entry.size): Uint8Array<ArrayBuffer> {
    const whole = offset === 0 && length === entry.size;
    if (entry.method === DEFLATED) {
      if (whole) return this.inflate(entry);
      if (this.inflated?.entry !== entry) this.inflated = { entry, content: this.inflate(entry) };
      return this.inflated.content.slice(offset, offset + length);
    }
    const position = this.dataPosition(entry);
    if (!whole && !this.intact.has(entry)) this.verify(entry, this.chunks(position, entry.size));
    const content = this.source.read(position + offset, length);
    if (whole) this.verify(entry, [content]);
    return content;
  }

  private *chunks(position: number, length: number, chunk = CHUNK) {
    for (let at = 0; at < length; at += chunk) {
      yield this.source.read(position + at, Math.min(chunk, length - at));
    }
  }

  private verify(entry: ZipEntry, content: Iterable<Uint8Array>): void {
    let found = 0;
    for (const chunk of content) found = crc32(chunk, found);
    if (found !== entry.crc32) {
      throw this.fail(
        `its entry ${quoted(entry.name)} is damaged: its CRC-32 is not the stored one`,
      );
    }
    this.intact.add(entry);
  }

  private dataPosition(entry: ZipEntry): number {
    const damaged = () => this.fail(`its entry ${quoted(entry.name)} has a damaged header`);
    const view = new DataView(this.source.read(entry.position, LOCAL_HEADER_BYTES).buffer);
    if (view.getUint32(0, true) !== LOCAL_SIGNATURE) throw damaged();
    if (view.getUint16(8, true) !== entry.method) throw damaged();
    const nameBytes = view.getUint16(26, true);
    const position = entry.position + LOCAL_HEADER_BYTES + nameBytes + view.getUint16(28, true);
    if (position + entry.compressedSize > entry.limit) throw damaged();
    const name = this.source.read(entry.position + LOCAL_HEADER_BYTES, nameBytes);
    if (new TextDecoder().decode(name) !== entry.name) throw damaged();
    return position;
  }

  private inflate(entry: ZipEntry): Uint8Array<ArrayBuffer> {
    this.inflated = undefined;
    const damaged = (reason: string) =>
      this.fail(`its entry ${quoted(entry.name)} cannot be unpacked (${reason})`);
    const content = new Uint8Array(entry.size);
    let end = 0;
    const stream = new Inflate((chunk) => {
      if (end + chunk.length > content.length) throw new Error("it is too long");
      content.set(chunk, end);
      end += chunk.length;
    });
    const position = this.dataPosition(entry);
    try {
      for (const chunk of this.chunks(position, entry.compressedSize, INFLATE_CHUNK)) {
        stream.push(chunk);
      }
      stream.push(new Uint8Array(0), true);
    } catch (error) {
      throw damaged((error as Error).message);
    }
    if (end < content.length) throw damaged("it is too short");
    this.verify(entry, [content]);
    return content;
  }
}

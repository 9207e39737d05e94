/** Reads the bytes of a pickle one after the other, from a source that may hold more than it. */
import type { Fail } from "../errors.ts";
import type { ByteSource } from "./byte_source.ts";

const BLOCK = 1 << 16;
/** Longest module or name that a pickle may spell out as a line. */
const MAX_LINE = 1024;
const LINE_FEED = 0x0a;

/** A position in a source that moves on with every read. */
export class PickleReader {
  private block: Uint8Array = new Uint8Array(0);
  private blockStart: number;

  /** Starts at `position`. */
  constructor(
    private readonly source: ByteSource,
    /** The next byte to read. */
    public position: number,
    private readonly fail: Fail,
  ) {
    this.blockStart = position;
  }

  /** The next `length` bytes; they may change with the next read. */
  bytes(length: number): Uint8Array {
    if (length > this.source.size - this.position) {
      throw this.fail(`it ends within a value of ${length} bytes at byte ${this.position}`);
    }
    let start = this.position - this.blockStart;
    if (start + length > this.block.length) {
      this.load(Math.max(length, BLOCK));
      start = 0;
    }
    this.position += length;
    return this.block.subarray(start, start + length);
  }

  private load(length: number): void {
    const rest = this.source.size - this.position;
    this.block = this.source.read(this.position, Math.min(length, rest));
    this.blockStart = this.position;
  }

  /** The next `length` bytes as numbers. */
  view(length: number): DataView {
    const bytes = this.bytes(length);
    return new DataView(bytes.buffer, bytes.byteOffset, length);
  }

  /** The next byte. */
  byte(): number {
    return this.bytes(1)[0];
  }

  /** A length of 1, 4 or 8 bytes. */
  length(bytes: 1 | 4 | 8): number {
    const view = this.view(bytes);
    if (bytes === 1) return view.getUint8(0);
    return bytes === 4 ? view.getUint32(0, true) : Number(view.getBigUint64(0, true));
  }

  /** Text of `length` bytes, which must be UTF-8. */
  text(length: number): string {
    const bytes = this.bytes(length);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      throw this.fail(`the text before byte ${this.position} is no UTF-8`);
    }
  }

  /** Text up to a line feed, without it. */
  line(): string {
    const window = Math.min(MAX_LINE, this.source.size - this.position);
    const length = this.bytes(window).indexOf(LINE_FEED);
    this.position -= window;
    if (length < 0) throw this.fail(`the line at byte ${this.position} has no end`);
    const text = this.text(length);
    this.position++;
    return text;
  }
}

/** Pictures in a stream of PPM files, one after the other. */
import { UserError } from "../../engine/errors.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";

const HEADER = /^P6\s(\d+)\s(\d+)\s255\s/;

/** No header is longer. */
const HEADER_BYTES = 64;

/** Reads binary PPM pictures (`P6`, 8 bits) from a stream. */
export class PpmStream {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private rest: Uint8Array = new Uint8Array();

  /** A reader of a stream that nobody else reads. */
  constructor(stream: ReadableStream<Uint8Array>) {
    this.reader = stream.getReader();
  }

  /**
   * The next picture; `undefined` at the end.
   *
   * @throws {UserError} where the stream is none of pictures, or ends within one.
   */
  async next(): Promise<RgbImage | undefined> {
    await this.fill(HEADER_BYTES);
    if (this.rest.length === 0) return undefined;
    const text = new TextDecoder("latin1").decode(this.rest.subarray(0, HEADER_BYTES));
    const header = HEADER.exec(text);
    if (!header) throw new UserError("The stream of frames is none of PPM pictures.");
    const [width, height] = [Number(header[1]), Number(header[2])];
    const start = header[0].length;
    const end = start + width * height * 3;
    await this.fill(end);
    if (this.rest.length < end) throw new UserError("The stream of frames ends within a frame.");
    const data = this.rest.slice(start, end);
    this.rest = this.rest.subarray(end);
    return { data, width, height };
  }

  /** Stops reading. */
  async cancel(): Promise<void> {
    await this.reader.cancel();
  }

  /** Reads until there are `length` bytes, or the stream ends. */
  private async fill(length: number): Promise<void> {
    if (this.rest.length >= length) return;
    const parts = [this.rest];
    let total = this.rest.length;
    while (total < length) {
      const { done, value } = await this.reader.read();
      if (done) break;
      parts.push(value);
      total += value.length;
    }
    this.rest = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      this.rest.set(part, at);
      at += part.length;
    }
  }
}

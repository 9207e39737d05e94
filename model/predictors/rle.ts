/** Run-length encoding of masks as in COCO: column by column, beginning with background. */
import { UserError } from "../../engine/errors.ts";
import type { BinaryMask } from "./video_options.ts";

/** Lengths of runs, of background and mask in turn. */
export interface UncompressedRle {
  /** [height, width] */
  readonly size: readonly [number, number];
  /** The first run is of background and may be empty. */
  readonly counts: readonly number[];
}

/** The same as the text that COCO's tools read and write. */
export interface CocoRle {
  /** [height, width] */
  readonly size: readonly [number, number];
  /** Five bits a character, differences to the run before the last one. */
  readonly counts: string;
}

/** Encodes a mask. */
export function maskToRle({ data, width, height }: BinaryMask): UncompressedRle {
  const counts: number[] = [];
  let [run, inside] = [0, false];
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const here = data[y * width + x] !== 0;
      if (here !== inside) {
        counts.push(run);
        run = 0;
        inside = here;
      }
      run++;
    }
  }
  counts.push(run);
  return { size: [height, width], counts };
}

/** Decodes a mask of zeros and ones. @throws {UserError} where the runs do not fill the size. */
export function rleToMask({ size: [height, width], counts }: UncompressedRle): BinaryMask {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total !== height * width) {
    throw new UserError(`Runs of ${total} pixels do not fill a mask of ${width} x ${height}.`);
  }
  const data = new Uint8Array(total);
  let at = 0;
  for (const [i, count] of counts.entries()) {
    for (const end = at + count; at < end; at++) {
      if (i % 2 === 1) data[at % height * width + Math.floor(at / height)] = 1;
    }
  }
  return { data, width, height };
}

/** Pixels of the mask. */
export function rleArea({ counts }: UncompressedRle): number {
  return counts.reduce((area, count, i) => area + (i % 2) * count, 0);
}

/** First character of the code. */
const BASE = 48;
const [BITS, SIGN, MORE] = [5, 16, 32];

/** Compresses runs to COCO's text. */
export function encodeCocoRle({ size, counts }: UncompressedRle): CocoRle {
  let text = "";
  for (const [i, count] of counts.entries()) {
    let rest = i > 2 ? count - counts[i - 2] : count;
    for (let more = true; more;) {
      const low = rest & (MORE - 1);
      rest >>= BITS;
      more = (low & SIGN) !== 0 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode(BASE + low + (more ? MORE : 0));
    }
  }
  return { size, counts: text };
}

/** Reads COCO's text. @throws {UserError} where it ends in the middle of a number. */
export function decodeCocoRle({ size, counts: text }: CocoRle): UncompressedRle {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let [value, shift, code] = [0, 0, MORE];
    for (; (code & MORE) !== 0; shift += BITS) {
      if (at >= text.length) throw new UserError("The run lengths end in the middle of a number.");
      code = text.charCodeAt(at++) - BASE;
      value |= (code & (MORE - 1)) << shift;
    }
    if ((code & SIGN) !== 0) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return { size, counts };
}

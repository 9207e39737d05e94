/** What a JPEG file says about itself before its pixels. */

/** The part of the header that matters here. */
export interface JpegHeader {
  /** Pixels per row, as stored. */
  readonly width: number;
  /** Number of rows, as stored. */
  readonly height: number;
  /** 1 for grey, 3 for colour, 4 for CMYK. */
  readonly components: number;
  /** How viewers turn the picture, from EXIF: 1 for not at all, up to 8. */
  readonly orientation: number;
}

const MARKER = 0xff;
const [START_OF_SCAN, END_OF_IMAGE, EXIF] = [0xda, 0xd9, 0xe1];

/** Markers of this range start a frame, but for three that share it. */
const FRAMES = { first: 0xc0, last: 0xcf, others: [0xc4, 0xc8, 0xcc] } as const;

/** Markers without a length: padding, restarts and the start of the image. */
const isBare = (marker: number) => marker === 1 || (marker >= 0xd0 && marker <= 0xd8);

/**
 * Reads the header.
 *
 * @param bytes the file, or its beginning.
 * @returns `undefined` where the bytes end before the size is known, or are no JPEG header.
 */
export function readJpegHeader(bytes: Uint8Array): JpegHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let orientation = 1;
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== MARKER) return undefined;
    const marker = bytes[at + 1];
    if (marker === MARKER || isBare(marker)) {
      at += marker === MARKER ? 1 : 2;
      continue;
    }
    if (marker === START_OF_SCAN || marker === END_OF_IMAGE) return undefined;
    const end = at + 2 + view.getUint16(at + 2);
    if (marker === EXIF && end <= bytes.length) {
      orientation = exifOrientation(bytes.subarray(at + 4, end)) ?? orientation;
    }
    if (
      marker >= FRAMES.first && marker <= FRAMES.last &&
      !FRAMES.others.some((other) => other === marker)
    ) {
      if (at + 10 > bytes.length) return undefined;
      const [height, width] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      return { width, height, components: bytes[at + 9], orientation };
    }
    at = end;
  }
  return undefined;
}

const ORIENTATION_TAG = 0x0112;
const ENTRY_BYTES = 12;

/** The orientation in an EXIF segment: "Exif\0\0", then a TIFF header and its first directory. */
function exifOrientation(segment: Uint8Array): number | undefined {
  if (new TextDecoder("latin1").decode(segment.subarray(0, 6)) !== "Exif\0\0") return undefined;
  const tiff = segment.subarray(6);
  if (tiff.length < 8) return undefined;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  const little = view.getUint16(0) === 0x4949;
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return undefined;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + i * ENTRY_BYTES;
    if (at + ENTRY_BYTES > tiff.length) return undefined;
    if (view.getUint16(at, little) !== ORIENTATION_TAG) continue;
    const value = view.getUint16(at + 8, little);
    return value >= 1 && value <= 8 ? value : undefined;
  }
  return undefined;
}

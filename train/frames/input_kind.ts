/** Tells what an input is from its content. */
import { UserError } from "../../engine/errors.ts";
import { ioReason } from "../data/errors.ts";
import { isGzip } from "../data/gzip.ts";
import { isHdf5 } from "../data/hdf5.ts";
import { imageFormat } from "../images/decode.ts";

/** What a path leads to; a file of another kind may be a video. */
export type InputKind = "folder" | "image" | "scan" | "other";

/** Enough for every signature. */
const BYTES = 512;

/** A NIfTI file begins with the size of its header, in either byte order. */
const NIFTI_STARTS = [348, 540, 0x5c010000, 0x1c020000];

/** Tells what lies at a path. @throws {UserError} where nothing does, or it cannot be read. */
export async function inputKind(path: string): Promise<InputKind> {
  const bytes = new Uint8Array(BYTES);
  try {
    if ((await Deno.stat(path)).isDirectory) return "folder";
    using file = await Deno.open(path);
    await file.read(bytes);
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${ioReason(error)}.`);
  }
  if (imageFormat(bytes)) return "image";
  const size = new DataView(bytes.buffer).getInt32(0, true);
  return isGzip(bytes) || isHdf5(bytes) || NIFTI_STARTS.includes(size) ? "scan" : "other";
}

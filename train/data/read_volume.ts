/** Opens one volume of any supported format. */
import type { Volume, VolumeShape } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { readBytes } from "./files.ts";
import { isGzip } from "./gzip.ts";
import { isHdf5, readHdf5 } from "./hdf5.ts";
import { decodeNifti, type NiftiHeader, volumeId } from "./nifti.ts";

/** A volume from a single file. */
export interface FileVolume extends Volume {
  /** Where the file is NIfTI. */
  readonly header?: NiftiHeader;
  /** Number of NaN and infinite voxels, which were replaced by 0. */
  readonly replaced: number;
}

/**
 * Reads the image of a .nii, .nii.gz or .h5 file; the format is told by the content, not by the
 * name. An HDF5 file has a dataset `image` of [S, H, W] or [H, W], and no spacing.
 *
 * @throws {DataError} if it is none of these or damaged.
 */
export async function readVolume(path: string): Promise<FileVolume> {
  const bytes = await readBytes(path);
  if (isHdf5(bytes)) return await readHdf5Volume(path, bytes);
  const size = bytes.length >= 4 ? new DataView(bytes.buffer).getInt32(0, true) : 0;
  // A NIfTI file begins with the size of its header in either byte order.
  if (isGzip(bytes) || [348, 540, 0x5c010000, 0x1c020000].includes(size)) {
    return decodeNifti(path, bytes);
  }
  throw new DataError(`${path} is neither a NIfTI (.nii, .nii.gz) nor an HDF5 (.h5) file.`);
}

async function readHdf5Volume(path: string, bytes: Uint8Array): Promise<FileVolume> {
  const stored = (await readHdf5(path, bytes, [{ name: "image", as: "f32" }])).get("image")!;
  const shape = stored.shape.length === 2 ? [1, ...stored.shape] : stored.shape;
  if (shape.length !== 3 || stored.data.length === 0) {
    throw new DataError(
      `The image of ${path} has the shape [${stored.shape.join(", ")}], not [H, W] or [S, H, W].`,
    );
  }
  const image = Float32Array.from(stored.data);
  let replaced = 0;
  for (let i = 0; i < image.length; i++) {
    if (Number.isFinite(image[i])) continue;
    image[i] = 0;
    replaced++;
  }
  const id = volumeId(path);
  return { id, patient: id, image, shape: shape as unknown as VolumeShape, replaced };
}

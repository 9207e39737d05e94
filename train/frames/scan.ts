/** A scan as frames: its slices along an axis. */
import { DataError } from "../data/errors.ts";
import type { Spacing } from "../data/dataset.ts";
import { type NiftiHeader, plainHeader } from "../data/nifti.ts";
import { readVolume } from "../data/read_volume.ts";
import {
  type SliceLayout,
  sliceLayout,
  type VolumeAxis,
  volumeFrames,
} from "../../model/predictors/volume_source.ts";
import { type NamedFrames, numbered } from "./named_frames.ts";

/** How a scan is seen. */
export interface ScanOptions {
  /** The axis along which slices follow each other: 0 (default), 1 for rows, 2 for columns. */
  readonly axis?: VolumeAxis;
  /** Intensities that are shown black and white; half a percent of the voxels lies beyond either. */
  readonly range?: readonly [low: number, high: number];
  /** Voxel spacing in mm where the file stores none. */
  readonly spacing?: Spacing;
}

/** The slices of a scan, and where they lie. */
export interface ScanFrames extends NamedFrames {
  /** Where the voxels of each slice are. */
  readonly layout: SliceLayout;
  /** Number of voxels of the scan. */
  readonly voxels: number;
  /** Where the scan lies in space. */
  readonly header: NiftiHeader;
  /** Number of NaN and infinite voxels, which count as 0. */
  readonly replaced: number;
}

/** Slices are shown this fast. */
const FPS = 5;

/**
 * Reads a scan (NIfTI, or HDF5 as in SSL4MIS) and shows its slices in grey levels.
 *
 * @throws {DataError} where the file cannot be read, is damaged, or has no finite voxel.
 */
export async function scanFrames(
  path: string,
  { axis = 0, range, spacing }: ScanOptions = {},
): Promise<ScanFrames> {
  const volume = await readVolume(path);
  const { image, shape, header, replaced } = volume;
  if (replaced === image.length) throw new DataError(`${path} has no voxel with a finite value.`);
  const frames = volumeFrames({ data: image, shape }, axis, range);
  return {
    ...frames,
    layout: sliceLayout(shape, axis),
    voxels: image.length,
    header: header ?? plainHeader({ ...(spacing && { spacing }), ...volume }),
    replaced,
    fps: FPS,
    nameOf: numbered,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

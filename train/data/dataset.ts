/** What every source of volumes looks like to training and evaluation. */
import { DataError } from "./errors.ts";

/** Slices, rows, columns. */
export type VolumeShape = readonly [slices: number, height: number, width: number];

/** Distance between voxel centres in mm along slices, rows, columns. */
export type Spacing = readonly [z: number, y: number, x: number];

/** A stack of slices. Volumes are shared between callers: treat the arrays as read-only. */
export interface Volume {
  /** Name, different for each volume of a set. */
  readonly id: string;
  /** All volumes of one patient fall into the same split. */
  readonly patient: string;
  /** Intensities [S, H, W], row-major. */
  readonly image: Float32Array;
  /** Slices, rows and columns. */
  readonly shape: VolumeShape;
  /** Absent where the files do not store it. */
  readonly spacing?: Spacing;
}

/** A volume with a reference segmentation. */
export interface LabelledVolume extends Volume {
  /** 0 is background, c is `DataSet.classes[c - 1]`; [S, H, W]. */
  readonly label: Uint8Array;
}

/** A volume that is read when asked for. */
export interface VolumeSource<V extends Volume = Volume> {
  readonly id: string;
  readonly patient: string;
  /** Number of slices, where it is known without reading the volume. */
  readonly slices?: number;
  /**
   * Reads the volume. What `load` of an unlabelled source gives has no label: neither in the type
   * nor in the object.
   *
   * @throws {DataError} if its files are damaged.
   */
  load(): Promise<V>;
}

/** A data set with a semi-supervised split of its training patients. */
export interface DataSet {
  readonly name: string;
  /** Names of the classes 1, 2, ... (no background). */
  readonly classes: readonly string[];
  /** Training volumes of the labelled patients. */
  readonly labelled: readonly VolumeSource<LabelledVolume>[];
  /** Training volumes of all other patients; their labels are never read. */
  readonly unlabelled: readonly VolumeSource[];
  readonly validation: readonly VolumeSource<LabelledVolume>[];
  readonly test: readonly VolumeSource<LabelledVolume>[];
  /** SHA-256 over names, sizes and contents; it does not depend on the labelled split. */
  fingerprint(): Promise<string>;
}

/**
 * The labelled patients: the first `labeled` in list order, or all when it is not given.
 *
 * @throws {DataError} if `labeled` is not a whole number from 1 to the number of patients.
 */
export function labelledPatients(
  patients: readonly string[],
  labeled: number | undefined,
): ReadonlySet<string> {
  if (labeled === undefined) return new Set(patients);
  if (!Number.isInteger(labeled) || labeled < 1 || labeled > patients.length) {
    throw new DataError(
      `The number of labelled patients must be a whole number from 1 to ${patients.length} ` +
        `(the training patients of this data set), not ${labeled}.`,
    );
  }
  return new Set(patients.slice(0, labeled));
}

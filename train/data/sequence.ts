/** Images with objects, in order: what SAM-2 is fine-tuned on. */
import type { RgbImage } from "../../model/sam2/image_transform.ts";

/** An image and the objects in it. */
export interface SegmentedFrame {
  readonly image: RgbImage;
  /** The object at each pixel, [height, width]; 0 is background. */
  readonly labels: Readonly<ArrayLike<number>>;
}

/** Frames of one video or slices of one scan; an object has the same label in all of them. */
export interface SegmentedSequence {
  /** Names the sequence in errors. */
  readonly id: string;
  /** Its name inside the data set, as lists of splits have it. */
  readonly name: string;
  /** Number of frames. */
  readonly count: number;
  /**
   * Reads frame `index`.
   *
   * @throws {UserError} where its files cannot be read, are damaged or do not fit each other.
   */
  read(index: number): Promise<SegmentedFrame>;
}

/** Everything in a folder that SAM-2 can be tuned on. */
export interface SegmentedData {
  readonly sequences: readonly SegmentedSequence[];
  /** What labels stand for, where the data say so. */
  readonly labelNames: ReadonlyMap<number, string>;
  /** SHA-256 over names, sizes and contents of all files. */
  fingerprint(): Promise<string>;
}

/** Segmentation of 3-D scans: slices are frames, and prompts spread in both directions. */
import { UserError } from "../../engine/errors.ts";
import type { Sam2 } from "../sam2/sam2.ts";
import {
  type ScanVolume,
  type SliceLayout,
  sliceLayout,
  type VolumeAxis,
  volumeFrames,
} from "./volume_source.ts";
import { labelSlice } from "./volume_labels.ts";
import type { BinaryMask, FrameMasks, PointsPrompt, VideoOptions } from "./video_options.ts";
import { type RemovedObject, VideoPredictor } from "./video_predictor.ts";

/** How a scan is seen and tracked. */
export interface VolumeOptions extends VideoOptions {
  /** The axis along which slices follow each other; 0 (depth) by default. */
  readonly axis?: VolumeAxis;
  /**
   * Intensities that are shown black and white. By default half a percent of the voxels lies beyond
   * either of them.
   */
  readonly range?: readonly [low: number, high: number];
}

/** Objects in a scan. */
export interface VolumeLabels {
  /** Label i + 1 stands for object `objectIds[i]`. */
  readonly objectIds: readonly number[];
  /** [depth, height, width], like the scan: 0 is background; of several objects the surest counts. */
  readonly labels: Uint8Array;
}

/**
 * Segments objects of a scan from prompts on any of its slices. Results have the layout of the scan, so
 * that its orientation and spacing hold for them too.
 *
 * @example An object from a box on the middle slice
 * ```ts
 * import { CONFIGS, FlatParameters, Sam2, VolumePredictor } from "sam2";
 *
 * const model = new Sam2({ ...CONFIGS.nano, imageSize: 64 });
 * await FlatParameters.create(model); // random weights; loadWeights() puts others in their place
 * const scan = { data: new Int16Array(5 * 32 * 32), shape: [5, 32, 32] as const };
 * const predictor = new VolumePredictor(model, scan);
 * await predictor.addPointsOrBox(2, 1, { box: [8, 8, 20, 24] });
 * const { labels } = await predictor.segment();
 * console.log(labels.filter((label) => label === 1).length, "voxels");
 * await predictor.close();
 * ```
 */
export class VolumePredictor {
  private readonly video: VideoPredictor;
  private readonly layout: SliceLayout;

  /**
   * A predictor without prompts.
   *
   * @throws {UserError} where the data do not fit the shape, without a finite voxel, and for unusable
   * options.
   */
  constructor(model: Sam2, private readonly scan: ScanVolume, options: VolumeOptions = {}) {
    const { axis = 0, range, ...video } = options;
    this.layout = sliceLayout(scan.shape, axis);
    this.video = new VideoPredictor(model, volumeFrames(scan, axis, range), video);
  }

  /** All objects, in the order in which they were added. */
  get objectIds(): number[] {
    return this.video.objectIds;
  }

  /**
   * Adds clicks or a box to a slice for an object; see {@link VideoPredictor.addPointsOrBox}.
   * Coordinates are (x, y) in the slice: rows and columns are the other two axes in their order.
   */
  addPointsOrBox(slice: number, objectId: number, prompt: PointsPrompt): Promise<FrameMasks> {
    return this.video.addPointsOrBox(slice, objectId, prompt);
  }

  /** Gives the mask of an object in a slice; see {@link VideoPredictor.addMask}. */
  addMask(slice: number, objectId: number, mask: BinaryMask): Promise<FrameMasks> {
    return this.video.addMask(slice, objectId, mask);
  }

  /** Takes all prompts of an object in a slice back. */
  clearPromptsInSlice(slice: number, objectId: number): Promise<FrameMasks> {
    return this.video.clearPromptsInFrame(slice, objectId);
  }

  /** Removes an object; see {@link VideoPredictor.removeObject}. */
  removeObject(objectId: number, options: { strict?: boolean } = {}): Promise<RemovedObject> {
    return this.video.removeObject(objectId, options);
  }

  /** Removes all objects. */
  reset(): Promise<void> {
    return this.video.reset();
  }

  /** Frees all GPU memory. */
  close(): Promise<void> {
    return this.video.close();
  }

  /**
   * The masks of every slice, once each: from the earliest prompted slice to the last one, then back to
   * the first one. Leave the loop to stop; it ends where all objects are removed meanwhile.
   *
   * @throws {UserError} where there is no object, or one without a prompt.
   */
  async *propagate(): AsyncGenerator<FrameMasks, void, void> {
    let first: number | undefined;
    for await (const masks of this.video.propagate()) {
      first ??= masks.frame;
      yield masks;
    }
    if (this.objectIds.length === 0) return;
    for await (const masks of this.video.propagate({ start: first, reverse: true })) {
      if (masks.frame !== first) yield masks;
    }
  }

  /**
   * Segments the whole scan.
   *
   * @param onSlice called with the masks of every slice, in the order of {@link propagate}.
   * @throws {UserError} where there is no object, one without a prompt, or more than 255.
   */
  async segment(onSlice?: (masks: FrameMasks) => void): Promise<VolumeLabels> {
    const labels = new Uint8Array(this.scan.data.length);
    const objectIds = this.objectIds;
    if (objectIds.length > 255) {
      throw new UserError(`Labels tell 255 objects apart; there are ${objectIds.length}.`);
    }
    for await (const masks of this.propagate()) {
      labelSlice(
        labels,
        this.layout,
        masks,
        masks.objectIds.map((id) => objectIds.indexOf(id) + 1),
      );
      onSlice?.(masks);
    }
    return { objectIds, labels };
  }
}

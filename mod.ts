/**
 * SAM-2 and semi-supervised segmentation on WebGPU: the engine (tensors, gradients, layers,
 * optimisers), the models, and readers of images, videos and scans for them.
 *
 * @example Gradients
 * ```ts
 * import { gradients, mean, readAll, square, tensor } from "sam2";
 *
 * const x = tensor([1, 2, 3]);
 * const loss = mean(square(x));
 * const [dx] = gradients(loss, [x]);
 * const [value, slope] = await readAll([loss, dx!]);
 * console.log(value[0], slope); // 4.67, [0.67, 1.33, 2]
 * ```
 *
 * @module
 */
export * from "./engine/checkpoint/mod.ts";
export * from "./engine/mod.ts";
export * from "./engine/nn/mod.ts";
export * from "./engine/optim/mod.ts";
export * from "./model/mod.ts";
export { type DecodedImage, decodeImage, readImage, readMask } from "./train/images/decode.ts";
export {
  type NiftiHeader,
  type NiftiOptions,
  type NiftiVolume,
  plainHeader,
  readNifti,
  writeNifti,
} from "./train/data/nifti.ts";
export type { Spacing, Volume, VolumeShape } from "./train/data/dataset.ts";
export { folderFrames } from "./train/frames/folder.ts";
export type { NamedFrames } from "./train/frames/named_frames.ts";
export { type VideoFileOptions, videoFrames } from "./train/frames/video_file.ts";

/** Reads frames and brings them into the form that the model takes. */
import { type Tensor, tensor } from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { IMAGENET, type RgbImage } from "../sam2/image_transform.ts";
import { checkFrame, type FrameSource } from "./frame_source.ts";
import { resizePillow } from "./pillow_resize.ts";

/** Normalised values of each byte, one table per channel. */
const LEVELS = IMAGENET.mean.map((mean, c) =>
  Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean) / IMAGENET.std[c])
);

/**
 * A frame as model input [1, 3, R, R]: resized by Pillow's bicubic filter (the aspect ratio is not
 * kept), then normalised.
 */
export function frameInput(frame: RgbImage, imageSize: number): Tensor {
  const { data } = resizePillow(frame, imageSize, imageSize);
  const plane = imageSize * imageSize;
  const values = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    const levels = LEVELS[c];
    for (let i = 0; i < plane; i++) values[c * plane + i] = levels[data[3 * i + c]];
  }
  return tensor(values, [1, 3, imageSize, imageSize]);
}

/** Reads frames on demand, and one ahead while the GPU is at work. */
export class FrameReader {
  private ahead: { readonly frame: number; readonly input: Promise<Tensor> } | undefined;

  /** A reader for a model whose input has sides of `imageSize`. */
  constructor(readonly source: FrameSource, private readonly imageSize: number) {
    const { count, height, width } = source;
    if (![count, height, width].every((n) => Number.isInteger(n) && n > 0)) {
      throw new UserError(`A video of ${count} frames of ${width} x ${height} pixels is empty.`);
    }
  }

  /** @throws {UserError} where the video has no such frame. */
  check(frame: number): void {
    const { count } = this.source;
    if (!Number.isInteger(frame) || frame < 0 || frame >= count) {
      throw new UserError(`There is no frame ${frame}: the video has frames 0 to ${count - 1}.`);
    }
  }

  /** The model input of a frame, [1, 3, R, R]. */
  input(frame: number): Promise<Tensor> {
    this.check(frame);
    const found = this.ahead?.frame === frame ? this.ahead.input : this.read(frame);
    this.ahead = undefined;
    return found;
  }

  /** Starts reading a frame that will be asked for soon. */
  prepare(frame: number): void {
    if (this.ahead?.frame === frame) return;
    const input = this.read(frame);
    // Whoever asks for the frame gets the error; nobody may.
    input.catch(() => {});
    this.ahead = { frame, input };
  }

  private async read(frame: number): Promise<Tensor> {
    const image = await this.source.read(frame);
    checkFrame(image, frame, this.source);
    return frameInput(image, this.imageSize);
  }
}

/** Images and the form in which the model takes them. */
import { type Tensor, tensor } from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { resizePlane } from "./host_resize.ts";

/** Mean and standard deviation of the channels of natural images, for values in [0, 1]. */
export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** An image of 8-bit channels, row-major [height, width, 3]. */
export interface RgbImage {
  /** Red, green and blue of each pixel. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/**
 * Resizes an image to R x R (bilinear, antialiased) and normalises its channels: [1, 3, R, R]. The
 * aspect ratio is not kept, as the model was trained.
 *
 * @throws {UserError} where the image is empty, or its data do not fit its size.
 */
export function transformImage({ data, width, height }: RgbImage, imageSize: number): Tensor {
  if (![width, height].every((side) => Number.isInteger(side) && side > 0)) {
    throw new UserError(`An image cannot have ${width} x ${height} pixels.`);
  }
  if (data.length !== width * height * 3) {
    throw new UserError(
      `The image has ${data.length} bytes; ${width} x ${height} RGB pixels need ${
        width * height * 3
      }.`,
    );
  }
  const size = [imageSize, imageSize] as const;
  const values = new Float32Array(3 * imageSize * imageSize);
  for (let c = 0; c < 3; c++) {
    const resized = resizePlane({ data, offset: c, step: 3, height, width }, size, true);
    const [mean, std] = [IMAGENET.mean[c], IMAGENET.std[c]];
    const at = c * resized.length;
    for (let i = 0; i < resized.length; i++) values[at + i] = (resized[i] / 255 - mean) / std;
  }
  return tensor(values, [1, 3, imageSize, imageSize]);
}

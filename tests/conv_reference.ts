/** Plain convolutions that kernels and ops are compared with. */
import { type ConvShape, convSizes } from "../shaders/conv2d.ts";

/** Calls `visit` with the flat indices of y, x and weight of every product in the convolution. */
function visitProducts(
  shape: ConvShape,
  visit: (y: number, x: number, weight: number) => void,
): void {
  const { batch, channels, height, width, filters, kernel, stride, padding } = shape;
  const { outHeight, outWidth, groupChannels, groupFilters } = convSizes(shape);
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < filters; o++) {
      for (let p = 0; p < outHeight * outWidth; p++) {
        const y0 = Math.floor(p / outWidth) * stride[0] - padding[0];
        const x0 = p % outWidth * stride[1] - padding[1];
        for (let c = 0; c < groupChannels; c++) {
          const plane = b * channels + Math.floor(o / groupFilters) * groupChannels + c;
          for (let t = 0; t < kernel[0] * kernel[1]; t++) {
            const [y, x] = [y0 + Math.floor(t / kernel[1]), x0 + t % kernel[1]];
            if (y < 0 || x < 0 || y >= height || x >= width) continue;
            visit(
              (b * filters + o) * outHeight * outWidth + p,
              (plane * height + y) * width + x,
              (o * groupChannels + c) * kernel[0] * kernel[1] + t,
            );
          }
        }
      }
    }
  }
}

/** Elements of x, weight and y. */
export function convLengths(shape: ConvShape): { x: number; weight: number; y: number } {
  const { taps, groupChannels, inPixels, outPixels } = convSizes(shape);
  return {
    x: shape.batch * shape.channels * inPixels,
    weight: shape.filters * groupChannels * taps,
    y: shape.batch * shape.filters * outPixels,
  };
}

/** y = conv2d(x, weight). */
export function convReference(shape: ConvShape, x: Float32Array, weight: Float32Array) {
  const out = new Float64Array(convLengths(shape).y);
  visitProducts(shape, (i, j, k) => out[i] += x[j] * weight[k]);
  return out;
}

/** The gradient of x. */
export function convInputReference(shape: ConvShape, g: Float32Array, weight: Float32Array) {
  const out = new Float64Array(convLengths(shape).x);
  visitProducts(shape, (i, j, k) => out[j] += g[i] * weight[k]);
  return out;
}

/** The gradient of the weight. */
export function convWeightReference(shape: ConvShape, x: Float32Array, g: Float32Array) {
  const out = new Float64Array(convLengths(shape).weight);
  visitProducts(shape, (i, j, k) => out[k] += g[i] * x[j]);
  return out;
}

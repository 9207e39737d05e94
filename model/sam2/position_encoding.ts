/** Position encodings: fixed sines on a grid or a line, and random Fourier features of points. */
import {
  add,
  arange,
  autocast,
  cast,
  cat,
  constant,
  cos,
  div,
  expand,
  floor,
  matmul,
  mul,
  permute,
  reshape,
  sin,
  stack,
  sub,
  type Tensor,
  tensor,
  unsqueeze,
} from "../../engine/mod.ts";
import { Module, normal, Parameter } from "../../engine/nn/mod.ts";

const TEMPERATURE = 10000;

/** Wavelength of channel k of `count`: neighbours (2i, 2i + 1) share one. */
const wavelength = (k: number, count: number) => TEMPERATURE ** (2 * Math.floor(k / 2) / count);

/** Tables stay on the GPU, so equal ones are made once. */
const tables = new Map<string, Tensor>();

/** [size, channels]: sine and cosine interleaved, of positions scaled to (0, 2 pi]. */
function sineTable(size: number, channels: number): Tensor {
  const key = `${size}x${channels}`;
  const found = tables.get(key);
  if (found) return found;
  const values = Float32Array.from({ length: size * channels }, (_, i) => {
    const [row, k] = [Math.floor(i / channels), i % channels];
    const angle = (row + 1) / (size + 1e-6) * 2 * Math.PI / wavelength(k, channels);
    return k % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
  const table = constant(values, [size, channels]);
  tables.set(key, table);
  return table;
}

/**
 * The fixed sine encoding of a grid, [1, channels, height, width]: the first half of the channels
 * tells y, the second half x.
 */
export function sinePositionEncoding(channels: number, height: number, width: number): Tensor {
  const half = channels / 2;
  const y = reshape(permute(sineTable(height, half), [1, 0]), [1, half, height, 1]);
  const x = reshape(permute(sineTable(width, half), [1, 0]), [1, half, 1, width]);
  const shape = [1, half, height, width];
  return cat([expand(y, shape), expand(x, shape)], 1);
}

/** Sines then cosines of positions on a line, [positions, channels]. */
export function sinePositionEncoding1d(positions: readonly number[], channels: number): Tensor {
  const half = channels / 2;
  const values = positions.flatMap((position) =>
    Array.from({ length: channels }, (_, k) => {
      const angle = position / wavelength(k % half, half);
      return k < half ? Math.sin(angle) : Math.cos(angle);
    })
  );
  return tensor(Float32Array.from(values), [positions.length, channels]);
}

/** Random Fourier features of points in the image; the random matrix is part of the state dict. */
export class PositionEmbeddingRandom extends Module {
  /** Frequencies of x and y, [2, channels / 2], not trained. */
  readonly positional_encoding_gaussian_matrix: Parameter;

  /** An encoding of `channels` channels. */
  constructor(channels: number) {
    super();
    this.positional_encoding_gaussian_matrix = new Parameter([2, channels / 2], normal(), false);
  }

  /** Encodes pixel coordinates (x, y) [B, N, 2] of a square image: [B, N, channels]. */
  forwardWithCoords(coords: Tensor, imageSize: number): Tensor {
    return this.encode(mul(coords, 1 / imageSize));
  }

  /** Encodes the cell centres of a grid: [1, channels, height, width]. */
  forward(height: number, width: number): Tensor {
    const centres = (size: number) => div(add(cast(arange(size), "f32"), 0.5), size);
    const shape = [height, width];
    const y = expand(reshape(centres(height), [height, 1]), shape);
    const x = expand(reshape(centres(width), [1, width]), shape);
    return unsqueeze(permute(this.encode(stack([x, y], 2)), [2, 0, 1]), 0);
  }

  /** Points with coordinates in [0, 1]. */
  private encode(points: Tensor): Tensor {
    const flat = reshape(sub(mul(points, 2), 1), [-1, 2]);
    // Angles need more digits than f16 has.
    const turns = autocast("f32", () => matmul(flat, this.positional_encoding_gaussian_matrix));
    // Whole turns change nothing, but adapters lose precision at large angles.
    const angle = mul(sub(turns, floor(add(turns, 0.5))), 2 * Math.PI);
    return reshape(cat([sin(angle), cos(angle)], 1), [...points.shape.slice(0, -1), -1]);
  }
}

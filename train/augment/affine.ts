/** Geometric views: rotation, flip, scale and shift as one resampling on the GPU. */
import {
  add,
  arange,
  cast,
  clamp,
  floor,
  ge,
  indexSelect,
  le,
  logicalAnd,
  mul,
  reshape,
  select,
  sub,
  type Tensor,
  where,
} from "../../engine/mod.ts";

/** Row-major 2 x 3 matrix that maps pixel indices (x, y) of the view to those of its source. */
export type Affine = readonly [number, number, number, number, number, number];

/** What a view is made of. */
export interface AffineParts {
  /** Counter-clockwise, radians. */
  readonly angle: number;
  /** Mirrors x. */
  readonly flip: boolean;
  /** Size of the content; above 1 the view is a crop. */
  readonly scale: number;
  /** Shift of the content in pixels. */
  readonly shift: readonly [x: number, y: number];
}

/** The view of a square image of `size` pixels, turned and scaled about its centre. */
export function affineOf({ angle, flip, scale, shift }: AffineParts, size: number): Affine {
  const centre = (size - 1) / 2;
  const [c, s] = [Math.cos(angle) / scale, Math.sin(angle) / scale];
  const mirror = flip ? -1 : 1;
  const [a, b, d, e] = [mirror * c, mirror * s, -s, c];
  const [x, y] = [centre + shift[0], centre + shift[1]];
  return [a, b, centre - a * x - b * y, d, e, centre - d * x - e * y];
}

/** Where a point of the source lies in the view. */
export function transformPoint(
  [a, b, tx, d, e, ty]: Affine,
  x: number,
  y: number,
): [number, number] {
  const det = a * e - b * d;
  const [u, v] = [x - tx, y - ty];
  return [(e * u - b * v) / det, (a * v - d * u) / det];
}

/**
 * Views of images, zeros outside.
 *
 * @param x [B, C, H, W]; class numbers and masks need `nearest`.
 * @param affines f32 [B, 6], one {@link Affine} an image.
 */
export function affineSample(x: Tensor, affines: Tensor, mode: "nearest" | "bilinear"): Tensor {
  const [batch, channels, height, width] = x.shape;
  const part = (i: number) => reshape(select(affines, 1, i), [batch, 1, 1, 1]);
  const xs = cast(arange(width, [1, 1, 1, width]), "f32");
  const ys = cast(arange(height, [1, 1, height, 1]), "f32");
  const sx = add(add(mul(part(0), xs), mul(part(1), ys)), part(2));
  const sy = add(add(mul(part(3), xs), mul(part(4), ys)), part(5));
  const plane = mul(arange(batch * channels, [batch, channels, 1, 1]), height * width);
  const flat = reshape(x, [-1]);
  const tap = (column: Tensor, row: Tensor): Tensor => {
    const inside = logicalAnd(
      logicalAnd(ge(column, 0), le(column, width - 1)),
      logicalAnd(ge(row, 0), le(row, height - 1)),
    );
    const at = add(
      mul(cast(clamp(row, 0, height - 1), "u32"), width),
      cast(clamp(column, 0, width - 1), "u32"),
    );
    const index = reshape(add(plane, at), [-1]);
    return where(inside, reshape(indexSelect(flat, 0, index), x.shape), 0);
  };
  if (mode === "nearest") return tap(floor(add(sx, 0.5)), floor(add(sy, 0.5)));
  const [x0, y0] = [floor(sx), floor(sy)];
  const [fx, fy] = [sub(sx, x0), sub(sy, y0)];
  const mix = (a: Tensor, b: Tensor, t: Tensor) => add(mul(a, sub(1, t)), mul(b, t));
  const upper = mix(tap(x0, y0), tap(add(x0, 1), y0), fx);
  const lower = mix(tap(x0, add(y0, 1)), tap(add(x0, 1), add(y0, 1)), fx);
  return mix(upper, lower, fy);
}

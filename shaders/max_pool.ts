/** Max pooling over square windows, and its gradient. */
import type { AdapterProfile } from "../engine/device.ts";
import { declareSizes, type Epilogue, grid1d, IDENTITY, type Lowering, storage } from "./kernel.ts";
import { maximum, nan } from "./nan.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import source from "./max_pool.wgsl" with { type: "text" };

const TEAM = 64;

/** Windows of `kernel` x `kernel` pixels, `stride` apart, over x [images, rows, columns, channels]. */
export interface PoolShape {
  readonly images: number;
  readonly rows: number;
  readonly columns: number;
  readonly channels: number;
  readonly kernel: number;
  readonly stride: number;
  /** Where the elements of x lie: of the first one, and of neighbours in the first three dimensions. */
  readonly first: number;
  readonly strides: readonly [image: number, row: number, column: number];
}

/** Windows that fit into `size` pixels. */
export const windowsIn = (size: number, kernel: number, stride: number): number =>
  Math.floor((size - kernel) / stride) + 1;

function lower(
  shape: PoolShape,
  backward: boolean,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const { images, rows, columns, channels, kernel, stride, first, strides } = shape;
  const windowRows = windowsIn(rows, kernel, stride);
  const windowColumns = windowsIn(columns, kernel, stride);
  const [height, width] = backward ? [rows, columns] : [windowRows, windowColumns];
  const V = [channels, first, ...strides].every((n) => n % 4 === 0) ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const count = images * height * width * channels / V;
  const grid = grid1d(Math.ceil(count / TEAM), profile.maxGrid);
  const [xImage, xRow, xColumn] = strides.map((n) => n / V);
  const sizes = {
    ...{ gridWidth: grid[0], count, rows: height, columns: width, channels: channels / V },
    ...{ xFirst: first / V, xImage, xRow, xColumn },
    ...(backward ? { windowRows, windowColumns } : {}),
  };
  const bindings = backward ? ["x", "g", "result"] : ["x", "result"];
  const text = expand(source, {
    declarations: bindings.map((name, i) => storage(i, name, T)).join("\n") +
      epilogue.declarations(bindings.length) + (backward ? nan(V) : maximum(V)),
    sizes: declareSizes(sizes),
    stored: epilogue.apply(V === 4 ? "(i * 4u)" : "i", "best", V),
    ...{ backward, kernel, stride, V, TEAM },
  });
  const name = backward ? "max pool gradient" : "max pool";
  const label = `${name} ${images}x${rows}x${columns}x${channels}, ${kernel} by ${stride}`;
  // The gradient looks through each window that an element lies in.
  const windows = backward ? Math.ceil(kernel / stride) ** 2 : 1;
  requireRounds(label, windows * (kernel ** 2 + 1), profile);
  const args = backward ? ["in0", "in1", "out0"] as const : ["in0", "out0"] as const;
  return { steps: [{ kernel: { label, source: text, grid, sizes }, args: [...args, "epilogue"] }] };
}

/** in0: x; out0: the largest value of each window, [images, rows', columns', channels]. NaN stays NaN. */
export function lowerMaxPool(
  shape: PoolShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  return lower(shape, false, profile, epilogue);
}

/** in0: x, in1: the gradient of the result; out0: the gradient of x, one element after another. */
export function lowerMaxPoolBackward(
  shape: PoolShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  return lower(shape, true, profile, epilogue);
}

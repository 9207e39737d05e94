/** Depthwise convolution: one filter for each channel. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Epilogue, type Lowering, storage } from "./kernel.ts";
import { convLabel, type ConvShape, convSizes, rowLoads, u32 } from "./conv2d_shape.ts";
import { storeFunction, tiles } from "./matmul_store.ts";
import { expand } from "./template.ts";
import source from "./depthwise.wgsl" with { type: "text" };

/** Unrolled vec4 multiply-adds of an invocation. */
const LARGEST_BODY = 256;

/** Whether the kernel is small enough for {@link depthwiseConv2d}. */
export function depthwiseFits(shape: ConvShape): boolean {
  return convSizes(shape).taps <= LARGEST_BODY;
}

/**
 * Convolves each channel of `in0` with its own kernel of `in1`.
 *
 * @param turn whether kernels are turned by 180 degrees.
 */
export function depthwiseConv2d(
  shape: ConvShape,
  turn: boolean,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const sizes = convSizes(shape);
  const { taps, outHeight, outWidth } = sizes;
  const R = [4, 2, 1].find((rows) => rows * taps <= LARGEST_BODY && rows <= outHeight) ?? 1;
  const quadsOfRow = Math.ceil(outWidth / 4);
  const rowBlocks = Math.ceil(outHeight / R);
  const quads = rowBlocks * quadsOfRow;
  // The lanes of a subgroup work on one channel, and so load its weights together.
  const sharing = profile.class === "cpu" ? profile.lanes : 0;
  const quadsOfChannel = sharing ? Math.ceil(quads / sharing) * sharing : quads;
  const row = rowLoads(
    shape,
    "source",
    undefined,
    sharing ? { lanes: sharing, whole: sharing % quadsOfRow === 0 } : undefined,
  );
  const count = shape.batch * shape.channels * quadsOfChannel;
  const workgroup = sharing || (profile.class === "gpu" ? 64 : 16);
  const { grid, decode } = tiles(Math.ceil(count / workgroup), profile.maxGrid);
  const wide = outWidth % 4 === 0;
  const code = expand(source, {
    bindings: [
      storage(0, "source", row.unit === 4 ? "vec4f" : "f32"),
      storage(1, "weights"),
      storeFunction(epilogue, 2, wide ? 4 : 1),
    ].join("\n"),
    workgroup,
    decode,
    count,
    R,
    row,
    quads,
    quadsOfRow,
    quadsOfChannel,
    sharing,
    weightAt: (t: number) => turn ? taps - 1 - t : t,
    shape,
    sizes,
    u32,
    stores: (r: number) =>
      wide
        ? [`put(base + ${r * outWidth}u, c${r});`]
        : [0, 1, 2, 3].map((i) =>
          `if (ox + ${i}u < ${outWidth}u) { put(base + ${r * outWidth + i}u, c${r}[${i}]); }`
        ),
  });
  return {
    steps: [{
      kernel: { label: convLabel("depthwise conv2d", shape), source: code, grid },
      args: ["in0", "in1", "out0", "epilogue"],
    }],
  };
}

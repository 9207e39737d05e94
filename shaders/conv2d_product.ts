/** Convolutions as batched products, one for each image and group. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Arg, type Epilogue, IDENTITY, type Lowering, type Step, storage } from "./kernel.ts";
import { convLabel, type ConvShape, convSizes, u32 } from "./conv2d_shape.ts";
import { packedSize, packWeights } from "./conv2d_pack.ts";
import type { Operand } from "./matmul_operand.ts";
import { lowerProduct } from "./matmul_product.ts";
import { storeFunction, tiles } from "./matmul_store.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import columnsSource from "./conv2d_columns.wgsl" with { type: "text" };

/** The weights of an image's group as [filters, channels * taps], or read as its transpose. */
function weightOperand(shape: ConvShape, arg: Arg, transposed: boolean): Operand {
  const { groupFilters, groupChannels, taps } = convSizes(shape);
  const size = groupFilters * groupChannels * taps;
  return {
    arg,
    contiguous: transposed ? "outer" : "k",
    stride: groupChannels * taps,
    batches: shape.groups === 1
      ? { first: 0, step: 0 }
      : { first: 0, step: size, modulo: shape.groups },
  };
}

/** The channels of an image's group as [channels, pixels]. */
function imageOperand(
  arg: Arg,
  channels: number,
  pixels: number,
  contiguous: "k" | "outer",
  first = 0,
): Operand {
  const size = channels * pixels;
  return {
    arg,
    contiguous,
    stride: pixels,
    batches: { first: first * size, step: size },
  };
}

/**
 * What the kernel sees of an image's group, [channels * taps, output pixels], gathered while it is
 * read.
 *
 * @param pixelsAlong whether output pixels are the product's k or its outer index.
 */
function patchOperand(shape: ConvShape, arg: Arg, pixelsAlong: "k" | "outer"): Operand {
  const { groupChannels, inPixels, outWidth, taps } = convSizes(shape);
  const { height, width, kernel, stride, padding } = shape;
  const [pixel, row] = pixelsAlong === "k" ? ["k", "outer"] : ["outer", "k"];
  return {
    arg,
    contiguous: pixelsAlong,
    stride: 1,
    batches: { first: 0, step: groupChannels * inPixels },
    gather: (name) =>
      `fn ${name}Element(base: u32, outer: u32, k: u32) -> f32 {
  let tap = ${row} % ${taps}u;
  let y = ${pixel} / ${outWidth}u * ${stride[0]}u + tap / ${kernel[1]}u + ${u32(-padding[0])};
  let x = ${pixel} % ${outWidth}u * ${stride[1]}u + tap % ${kernel[1]}u + ${u32(-padding[1])};
  if (y >= ${height}u || x >= ${width}u) { return 0.0; }
  return ${name}[base + (${row} / ${taps}u * ${height}u + y) * ${width}u + x];
}`,
  };
}

/** Whether the kernel sees each pixel by itself, so that no patches need to be gathered. */
export function isPointwise(shape: ConvShape): boolean {
  return [...shape.kernel, ...shape.stride].every((size) => size === 1) &&
    shape.padding.every((size) => size === 0);
}

/** The convolution as one product: inputs `in0` and weights `in1`. */
export function productConv2d(
  shape: ConvShape,
  turn: boolean,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const { groupFilters, groupChannels, taps, inPixels, outPixels } = convSizes(shape);
  const pointwise = isPointwise(shape);
  const product = lowerProduct(
    {
      label: convLabel("conv2d", shape),
      batch: shape.batch * shape.groups,
      reduce: 1,
      m: groupFilters,
      n: outPixels,
      k: groupChannels * taps,
      lhs: weightOperand(shape, turn ? "tmp0" : "in1", false),
      rhs: pointwise
        ? imageOperand("in0", groupChannels, inPixels, "outer")
        : patchOperand(shape, "in0", "outer"),
      out: "out0",
    },
    profile,
    epilogue,
    turn ? 1 : 0,
  );
  if (!turn) return product;
  const pack = packWeights(shape, { tileFilters: 0, turn }, "in1", "tmp0", profile);
  return {
    scratch: [4 * packedSize(shape, 0), ...product.scratch ?? []],
    steps: [pack, ...product.steps],
  };
}

/** The gradient of the weights as one product: inputs `in0` (the convolution's input), `in1` (g). */
export function productConv2dWeight(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const { groupFilters, groupChannels, taps, inPixels, outPixels } = convSizes(shape);
  return lowerProduct(
    {
      label: convLabel("conv2d weight gradient", shape),
      batch: shape.batch * shape.groups,
      reduce: shape.batch,
      m: groupFilters,
      n: groupChannels * taps,
      k: outPixels,
      lhs: imageOperand("in1", groupFilters, outPixels, "k"),
      rhs: isPointwise(shape)
        ? imageOperand("in0", groupChannels, inPixels, "k")
        : patchOperand(shape, "in0", "k"),
      out: "out0",
    },
    profile,
    epilogue,
  );
}

/** The input's gradient for a 1 x 1 kernel as one product: inputs `in0` (g) and weights `in1`. */
export function pointwiseConv2dInput(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const { groupFilters, groupChannels, outPixels } = convSizes(shape);
  return lowerProduct(
    {
      label: convLabel("conv2d input gradient", shape),
      batch: shape.batch * shape.groups,
      reduce: 1,
      m: groupChannels,
      n: outPixels,
      k: groupFilters,
      lhs: weightOperand(shape, "in1", true),
      rhs: imageOperand("in0", groupFilters, outPixels, "outer"),
      out: "out0",
    },
    profile,
    epilogue,
  );
}

/**
 * The input's gradient for any stride: a product gives what each tap contributes, then each input
 * pixel gathers its contributions. Done for as many images at once as fit a binding, or one by one.
 */
export function columnsConv2dInput(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const { groupFilters, groupChannels, taps, outPixels } = convSizes(shape);
  const label = convLabel("conv2d input gradient", shape);
  const bytesOfImage = 4 * shape.channels * taps * outPixels;
  const fitting = Math.max(1, Math.floor(profile.maxBindingBytes / bytesOfImage));
  const atOnce = Math.min(shape.batch, fitting);
  const scratch = [atOnce * bytesOfImage];
  const steps: Step[] = [];
  for (let first = 0; first < shape.batch; first += atOnce) {
    const images = Math.min(atOnce, shape.batch - first);
    const product = lowerProduct(
      {
        label,
        batch: images * shape.groups,
        reduce: 1,
        m: groupChannels * taps,
        n: outPixels,
        k: groupFilters,
        lhs: weightOperand(shape, "in1", true),
        rhs: imageOperand("in0", groupFilters, outPixels, "outer", first * shape.groups),
        out: "tmp0",
      },
      profile,
      IDENTITY,
      scratch.length,
    );
    scratch.push(...product.scratch ?? []);
    steps.push(...product.steps, gatherColumns(shape, first, images, profile, epilogue));
  }
  return { scratch, steps };
}

function gatherColumns(
  shape: ConvShape,
  firstImage: number,
  images: number,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Step {
  const sizes = convSizes(shape);
  const ofImage = shape.channels * sizes.inPixels;
  const workgroup = 64;
  const { grid, decode } = tiles(Math.ceil(images * ofImage / workgroup), profile.maxGrid);
  const source = expand(columnsSource, {
    bindings: storage(0, "columns") + storeFunction(epilogue, 1, 1),
    decode,
    workgroup,
    count: images * ofImage,
    first: firstImage * ofImage,
    shape,
    sizes,
  });
  const label = convLabel("conv2d input gradient, taps of", shape);
  requireRounds(label, sizes.taps + shape.kernel[0] + 1, profile);
  return { kernel: { label, source, grid }, args: ["tmp0", "out0", "epilogue"] };
}

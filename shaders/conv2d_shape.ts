/** Sizes of a 2-D convolution, and pieces that its kernels share. */

/** A convolution of x [batch, channels, height, width] with [filters, channels / groups, kh, kw]. */
export interface ConvShape {
  readonly batch: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly filters: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly groups: number;
}

/** Sizes that follow from the shape. */
export interface ConvSizes {
  readonly outHeight: number;
  readonly outWidth: number;
  /** Positions of the kernel. */
  readonly taps: number;
  /** Input channels and filters of one group. */
  readonly groupChannels: number;
  readonly groupFilters: number;
  /** Pixels of the input and of the output. */
  readonly inPixels: number;
  readonly outPixels: number;
}

/** @throws {RangeError} where the kernel exceeds the padded input or groups do not divide. */
export function convSizes(shape: ConvShape): ConvSizes {
  const { channels, filters, groups, height, width, kernel, stride, padding } = shape;
  const outHeight = Math.floor((height + 2 * padding[0] - kernel[0]) / stride[0]) + 1;
  const outWidth = Math.floor((width + 2 * padding[1] - kernel[1]) / stride[1]) + 1;
  if (outHeight < 1 || outWidth < 1) {
    throw new RangeError(
      `conv2d: a ${kernel.join("x")} kernel does not fit an input of ${height}x${width} ` +
        `with padding ${padding.join("x")}.`,
    );
  }
  if (channels % groups !== 0 || filters % groups !== 0) {
    throw new RangeError(
      `conv2d: ${groups} groups do not divide ${channels} channels and ${filters} filters.`,
    );
  }
  return {
    outHeight,
    outWidth,
    taps: kernel[0] * kernel[1],
    groupChannels: channels / groups,
    groupFilters: filters / groups,
    inPixels: height * width,
    outPixels: outHeight * outWidth,
  };
}

/** Whether each channel has one filter of its own. */
export function isDepthwise(shape: ConvShape): boolean {
  return shape.groups === shape.channels && shape.groups === shape.filters;
}

/** Op, shape and parameters, for the labels of kernels. */
export function convLabel(op: string, shape: ConvShape): string {
  const { batch, channels, height, width, filters, kernel, stride, padding, groups } = shape;
  return `${op} ${batch}x${channels}x${height}x${width} ${filters} of ${kernel.join("x")} ` +
    `stride ${stride.join("x")} pad ${padding.join("x")} groups ${groups}`;
}

/**
 * The convolution, of stride 1, that computes the gradient of `shape`'s input from that of its
 * output, with the kernel turned by 180 degrees and its channels and filters exchanged.
 */
export function turned(shape: ConvShape): ConvShape {
  const { outHeight, outWidth } = convSizes(shape);
  return {
    ...shape,
    channels: shape.filters,
    filters: shape.channels,
    height: outHeight,
    width: outWidth,
    padding: [shape.kernel[0] - 1 - shape.padding[0], shape.kernel[1] - 1 - shape.padding[1]],
  };
}

/** A `u32` constant in WGSL; negative numbers wrap around, and so do sums with them. */
export const u32 = (value: number): string => `${value >>> 0}u`;

const COMPONENTS = "xyzw";

/** Loads of the stretch of an input row that four neighbouring outputs of one lane see. */
export interface RowLoads {
  /** Elements of a load: offsets and sizes of the buffer are in these units. */
  readonly unit: 1 | 4;
  /** Statements, once: which parts lie inside the row. They read `x0`, the unpadded first column. */
  readonly setup: string[];
  /**
   * Statements that load a row.
   * @param name prefix of the loaded values, one for each row at hand.
   * @param row WGSL of the index, in units, of column `x0` without padding.
   * @param inside WGSL `bool`: whether the row exists; others give zeros.
   */
  readonly loads: (name: string, row: string, inside: string) => string[];
  /** WGSL of the value under tap `kx` of output `i` (0 to 3). */
  readonly value: (name: string, kx: number, i: number) => string;
  /** WGSL of the four outputs' values under tap `kx`. */
  readonly values: (name: string, kx: number) => string;
}

/** Vec4s of its own beside which what a lane gets from its neighbours no longer matters. */
const MOST_OWN = 2;

/** How neighbouring lanes, whose outputs lie side by side in a row, share what they load. */
export interface SharedLoads {
  /** Lanes of a subgroup. */
  readonly lanes: number;
  /** Whether no row goes on in another subgroup. */
  readonly whole: boolean;
}

/**
 * Loads of the `own` vec4s that no other lane's outputs begin in; those to the left and right of them
 * come from the lanes beside. Where a row goes on in another subgroup, the outermost lanes load
 * these, which costs little for two lanes.
 *
 * @param first number of the first part: -1 where one to the left is needed.
 * @param last number of the last part: `own` where one to the right is needed.
 * @param tested WGSL of whether a part lies inside, given whether its row does.
 */
function sharedLoads(
  buffer: string,
  { lanes, whole }: SharedLoads,
  { first, last, own }: Record<"first" | "last" | "own", number>,
  tested: (part: number, inside: string) => string,
): Pick<RowLoads, "setup" | "loads"> {
  const sides = [
    { part: -1, from: own - 1, shuffle: "subgroupShuffleUp", outermost: "lane == 0u" },
    { part: own, from: 0, shuffle: "subgroupShuffleDown", outermost: `lane == ${lanes - 1}u` },
  ].filter(({ part }) => first <= part && part <= last);
  const tests = sides.map(({ part, outermost }) => `(inside${part - first} && ${outermost})`);
  const beside = sides.length > 1
    ? `select(${u32(own)}, ${u32(-1)}, lane == 0u)`
    : u32(sides[0].part);
  return {
    setup: whole ? [] : [`let outermost = ${tests.join(" || ")};`, `let beside = ${beside};`],
    loads: (name, row, inside) => [
      ...Array.from(
        { length: own },
        (_, part) =>
          `let ${name}_${part - first} = select(vec4f(), ${buffer}[${row} + ${part}u], ${
            tested(part, inside)
          });`,
      ),
      ...whole ? [] : [
        `var ${name}_edge = vec4f();`,
        `if (outermost && ${inside}) { ${name}_edge = ${buffer}[${row} + beside]; }`,
      ],
      ...sides.map(({ part, from, shuffle, outermost }) => {
        const passed = `${shuffle}(${name}_${from - first}, 1u)`;
        const found = whole ? passed : `select(${passed}, ${name}_edge, ${outermost})`;
        return `let ${name}_${part - first} = select(vec4f(), ${found}, inside${part - first});`;
      }),
    ],
  };
}

/**
 * Generates the loads for rows of `shape`'s input in buffer `buffer`.
 *
 * @param end WGSL of the input's width.
 * @param shared what lanes load together, where `lane` numbers those of a subgroup.
 */
export function rowLoads(
  shape: ConvShape,
  buffer: string,
  end = `${shape.width}u`,
  shared?: SharedLoads,
): RowLoads {
  const { width, kernel: [, taps], stride: [, stride], padding: [, padding] } = shape;
  const unit = width % 4 === 0 ? 4 : 1;
  const length = 3 * stride + taps;
  const first = Math.floor(-padding / unit);
  const last = Math.floor((length - 1 - padding) / unit);
  const furthest = 4 * stride * (Math.ceil(convSizes(shape).outWidth / 4) - 1);
  const parts = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const checked = (part: number) => part < 0 || furthest + part * unit + unit > width;
  const zero = unit === 4 ? "vec4f()" : "0.0";
  const value = (name: string, kx: number, i: number) => {
    const column = i * stride + kx - padding;
    const part = Math.floor(column / unit) - first;
    return `${name}_${part}` + (unit === 4 ? `.${COMPONENTS[column - 4 * (part + first)]}` : "");
  };
  const setup = parts.filter(checked).map((part) =>
    `let inside${part - first} = x0 + ${u32(part * unit)} < ${end};`
  );
  const tested = (part: number, inside: string) =>
    checked(part) ? `${inside} && inside${part - first}` : inside;
  const values: RowLoads["values"] = (name, kx) =>
    `vec4f(${[0, 1, 2, 3].map((i) => value(name, kx, i)).join(", ")})`;
  // Whether the parts of a lane's neighbours are those that the lanes beside it own.
  const besides = unit === 4 && convSizes(shape).outWidth * stride === width &&
    first >= -1 && last <= stride && parts.length > stride && stride <= MOST_OWN;
  if (shared && besides) {
    const code = sharedLoads(buffer, shared, { first, last, own: stride }, tested);
    return { unit, setup: [...setup, ...code.setup], loads: code.loads, value, values };
  }
  return {
    unit,
    setup,
    loads: (name, row, inside) =>
      parts.map((part) =>
        `let ${name}_${part - first} = select(${zero}, ` +
        `${buffer}[${row} + ${u32(part)}], ${tested(part, inside)});`
      ),
    value,
    values,
  };
}

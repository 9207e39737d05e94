/** What a kernel specialiser returns: WGSL, sizes, and how its bindings are filled. */

/** One compute shader, entry point `main`. Shapes are baked into its source or stand in `sizes`. */
export interface Kernel {
  /** Op, shapes and schedule, for errors, traces and `DEBUG`. */
  readonly label: string;
  /** WGSL. Bindings are group 0, numbered as {@link Step.args}, all `var<storage, read_write>`. */
  readonly source: string;
  /** Workgroups per dimension. */
  readonly grid: readonly [number, number, number];
  /**
   * Values that the source reads as {@link declareSizes} declares them, so that one compiled source
   * serves many shapes. Unsigned, modulo 2^32.
   */
  readonly sizes?: Sizes | undefined;
}

/** Named numbers of a kernel, in the order of its uniform buffer. */
export type Sizes = Readonly<Record<string, number>>;

/**
 * `in0`, `in1`… inputs; `out0`… outputs; `tmp0`… scratch; `epilogue` expands to its inputs, last.
 * `companion` is the output of a {@link Companion}, whose epilogue's inputs come after all others.
 */
export type Arg =
  | `in${number}`
  | `out${number}`
  | `tmp${number}`
  | "epilogue"
  | "companion"
  | "companionEpilogue";

/** A dispatch of a kernel on its arguments, in binding order. */
export interface Step {
  readonly kernel: Kernel;
  readonly args: readonly Arg[];
}

/** How one heavy op runs: one or more dispatches, with scratch buffers (bytes) between them. */
export interface Lowering {
  readonly scratch?: readonly number[];
  readonly steps: readonly Step[];
}

/**
 * Elementwise work folded into the store of a kernel (bias, activation, residual …). The kernel
 * calls `apply` once for each value or vec4 that it stores to its first output, in place of the
 * plain value, and appends `declarations(firstBinding)` to its source.
 */
export interface Epilogue {
  /** WGSL of the extra bindings, numbered from `firstBinding`. */
  declarations(firstBinding: number): string;
  /**
   * @param index WGSL `u32` expression: the flat index in the output of the (first) value. For
   * width 4 it is a multiple of 4 and the four values are consecutive.
   * @param value WGSL expression of the computed value, `f32` or `vec4f`.
   * @param known coordinates at hand, which the epilogue then need not compute from sizes that
   * would set its text apart.
   * @returns statements to place before the store, and the expression to store.
   */
  apply(
    index: string,
    value: string,
    width: 1 | 4,
    known?: readonly Coordinate[],
  ): { statements: string; value: string };
}

/** A sum that kernels compute on the way, of what they read anyway. */
export interface Companion {
  /** What its store makes of it. */
  readonly epilogue: Epilogue;
}

/** A coordinate of an output: `code` is a WGSL `u32` expression of `index / stride % size`. */
export interface Coordinate {
  readonly stride: number;
  readonly size: number;
  readonly code: string;
}

/** The epilogue that changes nothing. */
export const IDENTITY: Epilogue = {
  declarations: () => "",
  apply: (_index, value) => ({ statements: "", value }),
};

/** Declares binding `index` as a storage array. */
export function storage(index: number, name: string, type = "f32"): string {
  return `@group(0) @binding(${index}) var<storage, read_write> ${name}: array<${type}>;`;
}

/** WGSL of the uniform buffer that holds a kernel's sizes, readable as `sizes.<name>`. */
export function declareSizes(sizes: Sizes): string {
  const members = Object.keys(sizes).map((name) => `${name}: u32`);
  return `struct Sizes { ${members.join(", ")} }
@group(1) @binding(0) var<uniform> sizes: Sizes;`;
}

/** Spreads `count` workgroups over x and y where one dimension would exceed the adapter's limit. */
export function grid1d(count: number, maxGrid: number): [number, number, number] {
  if (count <= maxGrid) return [Math.max(count, 1), 1, 1];
  const y = Math.ceil(count / maxGrid);
  return [Math.ceil(count / y), y, 1];
}

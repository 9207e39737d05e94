/** What the product and convolution kernels share: tile numbering and the store with its epilogue. */
import { type Coordinate, type Epilogue, grid1d, type Sizes, storage } from "./kernel.ts";

/** Vectors of four, by what they are made of. */
export const VECTORS = { f32: "vec4f", i32: "vec4<i32>", u32: "vec4<u32>" } as const;

/**
 * WGSL of binding `binding`, named `result`, and of `put(index, value)`, which stores there what the
 * epilogue makes of a value (`f32`, or `vec4f` for width 4, where `index` is a multiple of 4).
 *
 * @param known coordinates that `put` takes as further arguments, named by their `code`.
 * @param scalar type of the values; other than `f32` without an epilogue alone.
 */
export function storeFunction(
  epilogue: Epilogue,
  binding: number,
  width: 1 | 4,
  known: readonly Coordinate[] = [],
  scalar: keyof typeof VECTORS = "f32",
): string {
  const type = width === 4 ? VECTORS[scalar] : scalar;
  const done = epilogue.apply("index", "value", width, known);
  const parameters = ["index: u32", `value: ${type}`, ...known.map(({ code }) => `${code}: u32`)];
  return `${storage(binding, "result", type)}
${epilogue.declarations(binding + 1)}
fn put(${parameters.join(", ")}) {
  ${done.statements}
  result[index${width === 4 ? " / 4u" : ""}] = ${done.value};
}`;
}

/** As {@link storeFunction}, but of a companion's result: declares `companion` and `putSum(index, value)`. */
export function sumFunction(
  epilogue: Epilogue,
  binding: number,
  firstEpilogueBinding: number,
  size: number,
): string {
  const known = [{ stride: 1, size, code: "index" }];
  const done = epilogue.apply("index", "value", 1, known);
  return `${storage(binding, "companion")}
${epilogue.declarations(firstEpilogueBinding)}
fn putSum(index: u32, value: f32) {
  ${done.statements}
  companion[index] = ${done.value};
}`;
}

/**
 * WGSL statements that name the bits of `index / stride`, a number below `count`, for {@link numbered}.
 *
 * @param stride a power of two.
 */
export function bitsOfNumber(index: string, count: number, stride = 1): string[] {
  const bits = Math.ceil(Math.log2(count));
  return Array.from(
    { length: bits },
    (_, b) => `let bit${b} = (${index} & ${stride * 2 ** b}u) != 0u;`,
  );
}

/**
 * WGSL of the one of `names` whose number {@link bitsOfNumber} has named: a tree of selections. For
 * accumulators that a loop stores, software adapters compile this in a third of the time of an array
 * in workgroup memory, whose every access is a loop over the lanes, and run it no slower; an array in
 * private memory becomes a chain of branches.
 */
export function numbered(names: readonly string[]): string {
  if (names.length === 1) return names[0];
  const bit = Math.ceil(Math.log2(names.length)) - 1;
  const half = 2 ** bit;
  return `select(${numbered(names.slice(0, half))}, ${numbered(names.slice(half))}, bit${bit})`;
}

/** Workgroups along three dimensions, for kernels that take their sizes as data. */
export interface Places {
  readonly grid: [number, number, number];
  /** WGSL statements that define `place: vec3u` from `group` and leave surplus workgroups. */
  readonly decode: string[];
  /** Sizes that they read. */
  readonly sizes: Sizes;
}

/** Lays workgroups out on the grid, numbered in one sequence where it is too short. */
export function places(counts: readonly [number, number, number], maxGrid: number): Places {
  const [first, second, third] = counts;
  if (Math.max(...counts) <= maxGrid) {
    return { grid: [...counts], decode: ["let place = group;"], sizes: {} };
  }
  const grid = grid1d(first * second * third, maxGrid);
  return {
    grid,
    decode: [
      "let tile = group.x + group.y * sizes.gridWidth;",
      "if (tile >= sizes.first * sizes.second * sizes.third) { return; }",
      "let place = vec3u(tile % sizes.first, tile / sizes.first % sizes.second, tile / (sizes.first * sizes.second));",
    ],
    sizes: { gridWidth: grid[0], first, second, third },
  };
}

/** Workgroups numbered in one sequence, whatever the adapter's limit for a grid dimension is. */
export interface Tiles {
  readonly grid: [number, number, number];
  /** WGSL statements that define `tile` from `group: vec3u` and leave surplus workgroups. */
  readonly decode: string;
}

/** Lays `count` workgroups out on the grid. */
export function tiles(count: number, maxGrid: number): Tiles {
  const grid = grid1d(count, maxGrid);
  if (grid[1] === 1) return { grid, decode: "let tile = group.x;" };
  return {
    grid,
    decode: `let tile = group.x + group.y * ${grid[0]}u;
  if (tile >= ${count}u) { return; }`,
  };
}

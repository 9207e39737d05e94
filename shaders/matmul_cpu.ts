/** Products on CPU adapters: specialisation of `matmul_cpu.wgsl`. */
import type { AdapterProfile } from "../engine/device.ts";
import {
  type Arg,
  type Companion,
  declareSizes,
  type Epilogue,
  IDENTITY,
  type Sizes,
  type Step,
  storage,
} from "./kernel.ts";
import {
  type Factor,
  leftCode,
  leftSums,
  NO_SUMS,
  rightCode,
  rightSums,
} from "./matmul_cpu_loads.ts";
import { type CpuTile, factors, type LeftForm, leftForm, wideStores } from "./matmul_cpu_tile.ts";
import { type Operand, type Parts, type Product, vectorLoads } from "./matmul_operand.ts";
import { bitsOfNumber, numbered, places, storeFunction, sumFunction } from "./matmul_store.ts";
import { expand, textOf } from "./template.ts";
import source from "./matmul_cpu.wgsl" with { type: "text" };

/** The right factor stays in cache while the rows pass, unless it is small and the left is not. */
const CACHED_BYTES = 512 * 1024;

/** Which tile, batch and part of k a workgroup computes. */
interface Placement {
  readonly grid: [number, number, number];
  readonly decode: string[];
  readonly sizes: Sizes;
}

function place(product: Product, tile: CpuTile, parts: Parts, maxGrid: number): Placement {
  const { batch, k } = product;
  const { m, n } = factors(product, tile.swapped);
  const rowTiles = Math.ceil(m / tile.rows);
  const colTiles = Math.ceil(n / (4 * tile.lanes * tile.quads));
  const slices = batch * parts.count;
  const columnsFirst = 4 * n * k <= CACHED_BYTES;
  const [first, second] = columnsFirst ? [colTiles, rowTiles] : [rowTiles, colTiles];
  const laid = places([first, second, slices], maxGrid);
  const mixed = parts.count > 1 && batch > 1;
  return {
    grid: laid.grid,
    decode: [
      ...laid.decode,
      "let columnsFirst = sizes.columnsFirst != 0u;",
      "let rowTile = select(place.x, place.y, columnsFirst);",
      "let colTile = select(place.y, place.x, columnsFirst);",
      "let slice = place.z;",
      `let z = slice${mixed ? " % sizes.batch" : ""};`,
      `let kFirst = slice${mixed ? " / sizes.batch" : ""} * sizes.partStep;`,
    ],
    sizes: {
      columnsFirst: Number(columnsFirst),
      partStep: parts.count > 1 ? parts.chunk : 0,
      ...(mixed ? { batch } : {}),
      ...laid.sizes,
    },
  };
}

/** WGSL of an operand's first element in batch z, and the sizes that it reads. */
function baseOf(name: "lhs" | "rhs", { batches }: Operand, product: Product) {
  const { first, step, modulo = product.batch } = batches;
  const turns = modulo < product.batch;
  const z = turns ? `(z % sizes.${name}Modulo)` : "z";
  return {
    setup: `let ${name}First = sizes.${name}Offset + ${z} * sizes.${name}Step;`,
    sizes: {
      [`${name}Offset`]: first,
      // Where the slices are parts of k, all read the same matrix.
      [`${name}Step`]: product.batch === 1 ? 0 : step,
      ...(turns ? { [`${name}Modulo`]: modulo } : {}),
    },
  };
}

/** Statements that store row `r` (or four rows from there, adjacent in the result) of a lane's quad. */
function storeCode(tile: CpuTile, wide: boolean) {
  const four = [0, 1, 2, 3];
  return (sum: (d: number) => string, r: string): string[] => {
    const put = (i: number, value: string) => {
      const [y, x] = tile.swapped
        ? [`column + ${i}u`, `row + ${r}`]
        : [`row + ${r}`, `column + ${i}u`];
      return `put(base + (${y}) * sizes.outStride + ${x}, ${value}, ${x}, ${y});`;
    };
    if (wide && !tile.swapped) return [`if (column < n) { ${put(0, sum(0))} }`];
    return four.map((i) => {
      const value = wide
        ? `vec4f(${four.map((d) => `${sum(d)}[${i}]`).join(", ")})`
        : `${sum(0)}[${i}]`;
      return `if (column + ${i}u < n) { ${put(i, value)} }`;
    });
  };
}

/** Sums of the product's left factor over k, and where they go (parts of k one after another). */
export interface LeftSums extends Companion {
  readonly out: Arg;
}

/** The dispatch that computes the product (or its parts, one after another) with `tile`. */
export function cpuProduct(
  product: Product,
  tile: CpuTile,
  parts: Parts,
  profile: AdapterProfile,
  epilogue: Epilogue,
  sums?: LeftSums,
): Step {
  const { k } = product;
  const { m, n, lhs, rhs } = factors(product, tile.swapped);
  const wide = wideStores(product, tile);
  const form = leftForm(lhs, tile.rows, k, m);
  const guarded = k % tile.unit !== 0;
  const left = { contiguous: lhs.contiguous, vector: form !== "scalar", guarded };
  const right = { contiguous: rhs.contiguous, vector: vectorLoads(rhs, k, n), guarded };
  const placement = place(product, tile, parts, profile.maxGrid);
  const [lhsBase, rhsBase] = [baseOf("lhs", lhs, product), baseOf("rhs", rhs, product)];
  const sizes: Sizes = {
    m,
    n,
    k,
    chunk: parts.chunk,
    lhsStride: lhs.stride / (left.vector ? 4 : 1),
    rhsStride: rhs.stride / (right.vector ? 4 : 1),
    outStride: product.n,
    outSize: product.m * product.n,
    ...lhsBase.sizes,
    ...rhsBase.sizes,
    ...placement.sizes,
  };
  const result = sums ? 3 : 2;
  const summed = sums ? sumFunction(sums.epilogue, 2, result + 1, product.m) : "";
  const stored = storeFunction(epilogue, result, wide ? 4 : 1, [
    { stride: 1, size: product.n, code: "x" },
    { stride: product.n, size: product.m, code: "y" },
  ]);
  const base = ["let base = slice * sizes.outSize;", lhsBase.setup, rhsBase.setup];
  const text = {
    tile: { ...tile, count: 0 },
    form,
    left,
    right,
    wide,
    stored: `${summed}${stored}`,
    sums: sums !== undefined,
    plain: epilogue === IDENTITY,
    sizes: declareSizes(sizes),
    decode: [...placement.decode, ...base],
  };
  const columns = 4 * tile.lanes * tile.quads;
  const schedule = `cpu ${tile.rows}x${columns}${tile.swapped ? " swapped" : ""}`;
  return {
    kernel: {
      label: `${product.label} ${schedule}`,
      source: textOf(`matmul ${JSON.stringify(text)}`, () => write(text)),
      grid: placement.grid,
      sizes,
    },
    args: sums
      ? [lhs.arg, rhs.arg, sums.out, product.out, "epilogue", "companionEpilogue"]
      : [lhs.arg, rhs.arg, product.out, "epilogue"],
  };
}

/** Everything that tells one kernel's text from another's. */
interface Text {
  readonly tile: CpuTile;
  readonly form: LeftForm;
  readonly left: Factor;
  readonly right: Factor;
  /** Whether four neighbours of the result are stored at once. */
  readonly wide: boolean;
  readonly stored: string;
  /** Whether the product's left factor is summed over k. */
  readonly sums: boolean;
  /** Whether what is stored is the sum itself. */
  readonly plain: boolean;
  readonly sizes: string;
  readonly decode: readonly string[];
}

function write(text: Text): string {
  const { tile, form, left, right, wide, stored, plain, sizes, decode } = text;
  const type = (factor: Factor) => factor.vector ? "vec4f" : "f32";
  const storeRows = wide && tile.swapped ? 4 : 1;
  return expand(source, {
    bindings: [storage(0, "lhs", type(left)), storage(1, "rhs", type(right)), stored].join("\n"),
    sizes,
    L: tile.lanes,
    NV: tile.quads,
    MR: tile.rows,
    KU: tile.unit,
    decode,
    lhs: leftCode(left, form, tile),
    rhs: rightCode(right, tile),
    sums: !text.sums ? NO_SUMS : tile.swapped ? rightSums(tile) : leftSums(left, form, tile),
    bitsOfNumber,
    numbered,
    storeRows,
    storeLoop: tile.rows >= 8,
    // Of plain sums, more stores in a turn cost less to run, and little to compile.
    storeTurn: wide && plain ? 4 : storeRows,
    store: storeCode(tile, wide),
  });
}

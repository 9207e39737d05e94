/** Products on CPU adapters: tile choice and specialisation of `matmul_cpu.wgsl`. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Epilogue, type Step, storage } from "./kernel.ts";
import { type Operand, type Parts, type Product, vectorLoads } from "./matmul_operand.ts";
import { storeFunction, tiles } from "./matmul_store.ts";
import { expand } from "./template.ts";
import source from "./matmul_cpu.wgsl" with { type: "text" };

/** The tile of one workgroup. */
export interface CpuTile {
  readonly class: "cpu";
  /** Rows of the tile. */
  readonly rows: number;
  /** Groups of four columns that a lane owns. */
  readonly quads: number;
  /** Lanes of the workgroup, and those that share loads of the left factor (1: none do). */
  readonly lanes: number;
  readonly sharing: number;
  /** Whether the tile's rows are the product's columns: the transposed product is computed. */
  readonly swapped: boolean;
  /** Values of k in a turn of the loop. */
  readonly unit: number;
  readonly count: number;
}

const COMPONENTS = "xyzw";

/** Lanes of a workgroup where subgroups give no number. */
const PLAIN_LANES = 8;

/**
 * Below this many floating-point operations, compiling a large tile costs more than it saves: 32 rows
 * with an epilogue take 0.7 s to compile on llvmpipe, 8 rows 0.2 s, and at 30 MFLOP both take 5 ms.
 */
const SMALL_WORK = 2e8;

/** Measured on llvmpipe, in nanoseconds for all lanes: a vec4 load, and a broadcast and vec4 FMA. */
const LOAD = 19;
const FMA = 3;

function factors(product: Product, swapped: boolean) {
  const { m, n, lhs, rhs } = product;
  return swapped ? { m: n, n: m, lhs: rhs, rhs: lhs } : { m, n, lhs, rhs };
}

/** Rows that a vec4 load of the left factor spans in its contiguous direction. */
function leftForm(operand: Operand, rows: number, k: number, m: number): "k" | "outer" | "scalar" {
  if (!vectorLoads(operand, k, m)) return "scalar";
  if (operand.contiguous === "outer" && rows < 4) return "scalar";
  return operand.contiguous;
}

/** Values of k that one load of the left factor covers with all lanes. */
function leftDepth(form: "k" | "outer" | "scalar", rows: number, sharing: number): number {
  if (form === "outer") return sharing / Math.min(rows / 4, sharing);
  return sharing / Math.min(rows, sharing) * (form === "k" ? 4 : 1);
}

function estimate(product: Product, tile: Omit<CpuTile, "count" | "unit">): number {
  const { m, n, lhs, rhs } = factors(product, tile.swapped);
  const form = leftForm(lhs, tile.rows, product.k, m);
  const depth = leftDepth(form, tile.rows, tile.sharing);
  const perLoad = form === "scalar" ? 1 : 4;
  const covered = tile.sharing * perLoad / depth;
  const left = Math.ceil(tile.rows / covered) * (4 / depth) * (perLoad === 1 ? LOAD / 2 : LOAD);
  const right = 4 * tile.quads * (vectorLoads(rhs, product.k, n) ? LOAD : 2 * LOAD);
  const work = 4 * tile.rows * tile.quads * FMA;
  const wide = product.n % 4 === 0 && (!tile.swapped || tile.rows % 4 === 0);
  const store = tile.rows * tile.quads * (wide ? 2 : 4) * LOAD / Math.max(1, product.k / 4);
  const count = Math.ceil(m / tile.rows) * Math.ceil(n / (4 * tile.lanes * tile.quads));
  return count * (left + right + work + store);
}

function loopUnit(product: Product, tile: Omit<CpuTile, "count" | "unit">): number {
  const { m, lhs } = factors(product, tile.swapped);
  const form = leftForm(lhs, tile.rows, product.k, m);
  const least = Math.max(4, leftDepth(form, tile.rows, tile.sharing));
  const deeper = tile.rows <= 16 && (product.k % 8 === 0 || product.k >= 64);
  return deeper ? Math.max(8, least) : least;
}

/** The tile that is estimated to compute the product fastest. */
export function cpuTile(product: Product, profile: AdapterProfile): CpuTile {
  const lanes = profile.lanes || PLAIN_LANES;
  const sharing = profile.lanes || 1;
  const small = 2 * product.batch * product.m * product.n * product.k < SMALL_WORK;
  let best: Omit<CpuTile, "count" | "unit"> | undefined;
  for (const swapped of [false, true]) {
    for (const quads of profile.lanes ? [1] : [1, 2]) {
      for (const rows of small ? [8, 4, 2, 1] : [32, 16, 8, 4, 2, 1]) {
        if (rows * quads > 32) continue;
        const tile = { class: "cpu" as const, rows, quads, lanes, sharing, swapped };
        if (!best || estimate(product, tile) < estimate(product, best)) best = tile;
      }
    }
  }
  const { m, n } = factors(product, best!.swapped);
  const tilesOfOne = Math.ceil(m / best!.rows) * Math.ceil(n / (4 * lanes * best!.quads));
  return { ...best!, unit: loopUnit(product, best!), count: tilesOfOne * product.batch };
}

interface LeftCode {
  readonly setup: string;
  readonly loads: string[];
  readonly value: (row: number, q: number) => string;
}

/** Loads of the left factor, shared by the lanes, and where they leave the value of a row and k. */
function leftCode(operand: Operand, tile: CpuTile, k: number, m: number): LeftCode {
  const { rows, unit, sharing } = tile;
  const form = leftForm(operand, rows, k, m);
  const depth = leftDepth(form, rows, sharing);
  const vector = form !== "scalar";
  const perLoad = form === "outer" ? 4 : 1; // rows a lane holds of one load
  const across = Math.min(rows / perLoad, sharing); // lanes that lie along the rows
  const alongK = operand.contiguous === "k" ? 1 : operand.stride;
  const alongRows = operand.contiguous === "k" ? operand.stride : 1;
  const scale = vector ? 4 : 1;
  const lane = sharing === 1 ? "0u" : "lane";
  const laneK = `(${lane} / ${across}u * ${depth * across / sharing}u)`;
  const setup =
    `let lhsAt = (${operand.base("z")} + (row + ${lane} % ${across}u * ${perLoad}u) * ` +
    `${alongRows}u + ${laneK} * ${alongK}u) / ${scale}u;`;
  const loads: string[] = [];
  for (let h = 0; h < unit / depth; h++) {
    for (let g = 0; g * across * perLoad < rows; g++) {
      const offset = (h * depth * alongK + g * across * perLoad * alongRows) / scale;
      const at = form === "k" ? "k / 4u" : `k * ${alongK / scale}u`;
      const load = `lhs[lhsAt + ${at} + ${offset}u]`;
      const zero = vector ? "vec4f()" : "0.0";
      const guarded = k % unit === 0
        ? load
        : `select(${zero}, ${load}, k + ${laneK} + ${h * depth}u < ${k}u)`;
      loads.push(`let a${h}_${g} = ${guarded};`);
    }
  }
  const value = (row: number, q: number) => {
    const inLoad = q % depth; // k within a load: lanes, then components
    const perLane = form === "k" ? 4 : 1;
    const unitRow = Math.floor(row / perLoad);
    const source = unitRow % across + across * Math.floor(inLoad / perLane);
    const component = form === "k" ? q % 4 : row % 4;
    const name = `a${Math.floor(q / depth)}_${Math.floor(unitRow / across)}` +
      (vector ? `.${COMPONENTS[component]}` : "");
    return sharing === 1 ? name : `subgroupBroadcast(${name}, ${source}u)`;
  };
  return { setup, loads, value };
}

/** Loads of the right factor: `b<q>_<j>` holds four columns of row k + q. */
function rightCode(operand: Operand, tile: CpuTile, k: number, n: number) {
  const vector = vectorLoads(operand, k, n);
  const alongK = operand.contiguous === "k" ? 1 : operand.stride;
  const alongColumns = operand.contiguous === "k" ? operand.stride : 1;
  const scale = vector ? 4 : 1;
  const setup = `let rhsAt = (${operand.base("z")} + col * ${alongColumns}u) / ${scale}u;`;
  const guard = (q: number, text: string, zero: string) =>
    k % tile.unit === 0 ? text : `select(${zero}, ${text}, k + ${q}u < ${k}u)`;
  const at = (q: number, column: number) => {
    const kPart = vector && alongK === 1 ? "k / 4u" : `k * ${alongK / scale}u`;
    return `rhs[rhsAt + ${kPart} + ${(q * alongK + column * alongColumns) / scale}u]`;
  };
  const quad = (q0: number, j: number): string[] => {
    const first = j * 4 * tile.lanes;
    const four = [0, 1, 2, 3];
    if (!vector) {
      return four.map((q) => {
        const parts = four.map((i) => guard(q0 + q, at(q0 + q, first + i), "0.0"));
        return `let b${q0 + q}_${j} = vec4f(${parts.join(", ")});`;
      });
    }
    if (operand.contiguous === "outer") {
      return four.map((q) =>
        `let b${q0 + q}_${j} = ${guard(q0 + q, at(q0 + q, first), "vec4f()")};`
      );
    }
    const name = (i: number) => `t${q0}_${j}_${i}`;
    return [
      ...four.map((i) => `let ${name(i)} = ${guard(q0, at(q0, first + i), "vec4f()")};`),
      ...four.map((q) =>
        `let b${q0 + q}_${j} = vec4f(${four.map((i) => `${name(i)}.${COMPONENTS[q]}`).join(", ")});`
      ),
    ];
  };
  const loads = (q0: number) => Array.from({ length: tile.quads }, (_, j) => quad(q0, j)).flat();
  return { setup, loads };
}

/** Statements that store a row (or four, where those are adjacent in the result) of a lane's quad. */
function storeCode(product: Product, tile: CpuTile, wide: boolean) {
  const { m, n } = factors(product, tile.swapped);
  const span = 4 * tile.lanes;
  return (j: number, r: string, sum: (d: number) => string): string[] => {
    const column = (i: number) => `(col + ${j * span + i}u)`;
    const guarded = (i: number, text: string) => {
      const tests = m % tile.rows ? [`row + ${r} < ${m}u`] : [];
      if (n % (span * tile.quads)) tests.push(`${column(i)} < ${n}u`);
      return tests.length ? `if (${tests.join(" && ")}) { ${text} }` : text;
    };
    const at = (i: number) =>
      tile.swapped
        ? `base + ${column(i)} * ${product.n}u + row + ${r}`
        : `base + (row + ${r}) * ${product.n}u + ${column(i)}`;
    if (wide && !tile.swapped) return [guarded(0, `put(${at(0)}, ${sum(0)});`)];
    return [0, 1, 2, 3].map((i) => {
      const part = (d: number) => `${sum(d)}.${COMPONENTS[i]}`;
      const value = wide ? `vec4f(${[0, 1, 2, 3].map(part).join(", ")})` : part(0);
      return guarded(i, `put(${at(i)}, ${value});`);
    });
  };
}

/** The right factor stays in cache while the rows pass, unless it is small and the left is not. */
const CACHED_BYTES = 512 * 1024;

function tileOrder(product: Product, tile: CpuTile, parts: Parts) {
  const { m, n } = factors(product, tile.swapped);
  const rowTiles = Math.ceil(m / tile.rows);
  const colTiles = Math.ceil(n / (4 * tile.lanes * tile.quads));
  const columnsFirst = 4 * n * product.k <= CACHED_BYTES;
  const [first, second] = columnsFirst ? [colTiles, rowTiles] : [rowTiles, colTiles];
  const fast = `(tile % ${first}u)`;
  const slow = `(tile / ${first}u % ${second}u)`;
  const outer = `(tile / ${first * second}u)`;
  return {
    count: rowTiles * colTiles * product.batch * parts.count,
    rowTile: columnsFirst ? slow : fast,
    colTile: columnsFirst ? fast : slow,
    slice: outer,
    z: parts.count === 1 ? outer : `(${outer} % ${product.batch}u)`,
    kFirst: parts.count === 1 ? "0u" : `${outer} / ${product.batch}u * ${parts.chunk}u`,
  };
}

/** The dispatch that computes the product (or its parts, one after another) with `tile`. */
export function cpuProduct(
  product: Product,
  tile: CpuTile,
  parts: Parts,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Step {
  const { k } = product;
  const { m, n, lhs, rhs } = factors(product, tile.swapped);
  const type = (vector: boolean) => vector ? "vec4f" : "f32";
  const wide = product.n % 4 === 0 && (!tile.swapped || tile.rows % 4 === 0);
  const leftType = type(leftForm(lhs, tile.rows, k, m) !== "scalar");
  const order = tileOrder(product, tile, parts);
  const { grid, decode } = tiles(order.count, profile.maxGrid);
  const code = expand(source, {
    bindings: [
      storage(0, "lhs", leftType),
      storage(1, "rhs", type(vectorLoads(rhs, k, n))),
      storeFunction(epilogue, 2, wide ? 4 : 1),
    ].join("\n"),
    L: tile.lanes,
    NV: tile.quads,
    MR: tile.rows,
    KU: tile.unit,
    decode,
    rowTile: order.rowTile,
    colTile: order.colTile,
    slice: order.slice,
    zTile: order.z,
    kFirst: order.kFirst,
    kEnd: parts.count === 1 ? `${k}u` : `min(${k}u, ${order.kFirst} + ${parts.chunk}u)`,
    lhs: leftCode(lhs, tile, k, m),
    rhs: rightCode(rhs, tile, k, n),
    outStride: product.m * product.n,
    storeRows: wide && tile.swapped ? 4 : 1,
    stores: storeCode(product, tile, wide),
  });
  const schedule = `cpu ${tile.rows}x${4 * tile.lanes * tile.quads}${
    tile.swapped ? " swapped" : ""
  }`;
  return {
    kernel: { label: `${product.label} ${schedule}`, source: code, grid },
    args: [lhs.arg, rhs.arg, product.out, "epilogue"],
  };
}

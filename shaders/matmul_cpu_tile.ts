/** Products on CPU adapters: which tile computes one fastest. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Operand, type Product, productClass, vectorLoads } from "./matmul_operand.ts";
import { measuredTile, TUNING } from "./tuning.ts";

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

/** Products (m n k) below which a product's time does not matter beside that of compiling its kernel. */
const TINY_WORK = 1e4;

/** Rows of the tile that compiles fastest. */
const TINY_ROWS = 4;

/** Lanes of a workgroup where subgroups give no number. */
const PLAIN_LANES = 8;

const { load: LOAD, fma: FMA, rows: HEIGHTS, worthAKernel: WORTH_A_KERNEL } = TUNING.cpu;

/** The factors as the tile sees them: its left one gives the tile's rows. */
export function factors(product: Product, swapped: boolean) {
  const { m, n, lhs, rhs } = product;
  return swapped ? { m: n, n: m, lhs: rhs, rhs: lhs } : { m, n, lhs, rhs };
}

/** How the left factor is loaded: as vec4s along k or along the rows, or as scalars. */
export type LeftForm = "k" | "outer" | "scalar";

/** The form in which a tile of `rows` rows loads its left factor. */
export function leftForm(operand: Operand, rows: number, k: number, m: number): LeftForm {
  if (!vectorLoads(operand, k, m)) return "scalar";
  if (operand.contiguous === "outer" && rows < 4) return "scalar";
  return operand.contiguous;
}

/** Values of k that one load of the left factor covers with all lanes. */
export function leftDepth(form: LeftForm, rows: number, sharing: number): number {
  if (form === "outer") return sharing / Math.min(rows / 4, sharing);
  return sharing / Math.min(rows, sharing) * (form === "k" ? 4 : 1);
}

type Candidate = Omit<CpuTile, "count" | "unit">;

/** Whether four neighbours of the result are stored at once. */
export function wideStores(product: Product, tile: Candidate): boolean {
  return product.n % 4 === 0 && (!tile.swapped || tile.rows % 4 === 0);
}

/** Estimated nanoseconds of all workgroups. */
function estimate(product: Product, tile: Candidate): number {
  const { m, n, lhs, rhs } = factors(product, tile.swapped);
  const form = leftForm(lhs, tile.rows, product.k, m);
  const depth = leftDepth(form, tile.rows, tile.sharing);
  const perLoad = form === "scalar" ? 1 : 4;
  const covered = tile.sharing * perLoad / depth;
  const left = Math.ceil(tile.rows / covered) * (4 / depth) * (perLoad === 1 ? LOAD / 2 : LOAD);
  const right = 4 * tile.quads * (vectorLoads(rhs, product.k, n) ? LOAD : 2 * LOAD);
  const work = 4 * tile.rows * tile.quads * FMA;
  const store = tile.rows * tile.quads * (wideStores(product, tile) ? 2 : 4) * LOAD;
  const count = Math.ceil(m / tile.rows) * Math.ceil(n / (4 * tile.lanes * tile.quads));
  return product.batch * count * (Math.ceil(product.k / 4) * (left + right + work) + store);
}

function loopUnit(product: Product, tile: Candidate): number {
  const { m, lhs } = factors(product, tile.swapped);
  const form = leftForm(lhs, tile.rows, product.k, m);
  return Math.max(4, leftDepth(form, tile.rows, tile.sharing));
}

const nameOf = ({ rows, lanes, quads, swapped }: Candidate) =>
  `${rows}x${4 * lanes * quads}${swapped ? " swapped" : ""}`;

/** The tile that was measured, or else is estimated, to compute the product fastest. */
export function cpuTile(product: Product, profile: AdapterProfile): CpuTile {
  const lanes = profile.lanes || PLAIN_LANES;
  const sharing = profile.lanes || 1;
  const candidates = [false, true].flatMap((swapped) =>
    HEIGHTS.flatMap((rows) =>
      (profile.lanes ? [1] : [1, 2]).map((quads): Candidate => (
        { class: "cpu", rows, quads, lanes, sharing, swapped }
      ))
    )
  ).filter(({ rows, quads }) => rows * quads <= 32);
  const small = product.batch * product.m * product.n * product.k < TINY_WORK;
  const usual = small ? candidates.find(({ rows }) => rows === TINY_ROWS)! : candidates[0];
  const cost = (tile: Candidate) => estimate(product, tile) + (tile === usual ? 0 : WORTH_A_KERNEL);
  const question = { label: product.label, shapeClass: productClass(product, profile) };
  const best = measuredTile(question, candidates, nameOf, profile) ??
    candidates.reduce((a, b) => cost(b) < cost(a) ? b : a);
  const { m, n } = factors(product, best.swapped);
  const tilesOfOne = Math.ceil(m / best.rows) * Math.ceil(n / (4 * lanes * best.quads));
  return { ...best, unit: loopUnit(product, best), count: tilesOfOne * product.batch };
}

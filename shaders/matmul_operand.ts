/** A batched product C[z, m, n] = sum over k of lhs(z, m, k) * rhs(z, k, n), described. */
import type { AdapterProfile } from "../engine/device.ts";
import type { Arg } from "./kernel.ts";
import { shapeClassOf } from "./tuning.ts";

/** Where the matrices of an operand lie: that of batch z starts at `first + z % modulo * step`. */
export interface Batches {
  /** Elements before the first matrix. */
  readonly first: number;
  /** Elements from one matrix to the next; 0 where one serves all batches. */
  readonly step: number;
  /** Matrices that come again and again; absent where each batch has its own. */
  readonly modulo?: number;
}

/** One factor: where its element (outer, k) of batch z lies. Outer is m on the left, n on the right. */
export interface Operand {
  readonly arg: Arg;
  /** The index whose neighbours are adjacent in memory. */
  readonly contiguous: "k" | "outer";
  /** Elements between neighbours along the other index. */
  readonly stride: number;
  readonly batches: Batches;
  /**
   * Instead of a matrix in memory: WGSL declaring `fn <name>Element(base: u32, outer: u32, k: u32) ->
   * f32`, called for any outer and for k in range (workgroup-memory schedule only).
   */
  readonly gather?: (name: string) => string;
}

/** A batched product. */
export interface Product {
  readonly label: string;
  readonly batch: number;
  /** Every `batch / reduce` apart batches are added up; 1 where each gives a result. */
  readonly reduce: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly lhs: Operand;
  readonly rhs: Operand;
  readonly out: Arg;
}

/** How the k dimension is cut: part s covers `[s * chunk, min(k, (s + 1) * chunk))`. */
export interface Parts {
  readonly count: number;
  readonly chunk: number;
}

/** Whether four neighbours of the operand can be loaded as one vec4, given the contiguous size. */
export function vectorLoads(operand: Operand, k: number, outer: number): boolean {
  const size = operand.contiguous === "k" ? k : outer;
  const { first, step } = operand.batches;
  return !operand.gather && [size, operand.stride, first, step].every((n) => n % 4 === 0);
}

/** Products with the same text have the same best tile. */
export function productClass(product: Product, profile: AdapterProfile): string {
  const { batch, m, k, n, lhs, rhs } = product;
  const access = (operand: Operand, outer: number) =>
    operand.gather ? "gathered" : `${operand.contiguous}${vectorLoads(operand, k, outer) ? 4 : 1}`;
  const details = `${access(lhs, m)} ${access(rhs, n)}`;
  return shapeClassOf(profile, "product", [batch, m, k, n], details);
}

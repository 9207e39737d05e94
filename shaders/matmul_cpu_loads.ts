/** WGSL of the loads of a product's factors on CPU adapters; strides are data, tiles are baked. */
import type { CpuTile } from "./matmul_cpu_tile.ts";
import { leftDepth, type LeftForm } from "./matmul_cpu_tile.ts";

const COMPONENTS = "xyzw";

/** A factor as its loads see it. */
export interface Factor {
  readonly contiguous: "k" | "outer";
  /** Whether it is bound as vec4s. */
  readonly vector: boolean;
  /** Whether a turn of the loop may reach beyond the end of k. */
  readonly guarded: boolean;
}

/**
 * Addresses of one factor's loads. Offsets along the contiguous index are constants; those along the
 * other are multiples of a stride that is data, which a chain of additions makes anew in each turn.
 */
class Addresses {
  private readonly offsets = new Set<number>([0]);
  private readonly scale: number;

  constructor(private readonly name: "lhs" | "rhs", private readonly factor: Factor) {
    this.scale = factor.vector ? 4 : 1;
  }

  /** WGSL of the element (or vec4) at `k` + `alongK` and `outer` + `alongOuter`. */
  load(alongK: number, alongOuter: number): string {
    const k = this.factor.contiguous === "k";
    const strided = k ? alongOuter : alongK;
    this.offsets.add(strided);
    return `${this.name}[${this.name}At${strided} + ${(k ? alongK : alongOuter) / this.scale}u]`;
  }

  private hops(): [from: number, to: number][] {
    const sorted = [...this.offsets].sort((a, b) => a - b);
    return sorted.slice(1).map((to, i) => [sorted[i], to]);
  }

  /** What the loads need before the loop. */
  setup(first: string, k: string, outer: string): string[] {
    const { name } = this;
    const [unit, strided] = this.factor.contiguous === "k" ? [k, outer] : [outer, k];
    const lengths = new Set(this.hops().map(([from, to]) => to - from));
    return [
      `let ${name}Start = (${first} + ${unit}) / ${this.scale}u + (${strided}) * sizes.${name}Stride;`,
      `let ${name}Stride = sizes.${name}Stride;`,
      ...[...lengths].map((n) => `let ${name}Hop${n} = ${n}u * ${name}Stride;`),
    ];
  }

  /** The addresses of a turn. */
  turn(): string[] {
    const { name } = this;
    const k = this.factor.contiguous === "k" ? `k / ${this.scale}u` : `k * ${name}Stride`;
    return [
      `let ${name}At0 = ${name}Start + ${k};`,
      ...this.hops().map(([from, to]) =>
        `let ${name}At${to} = ${name}At${from} + ${name}Hop${to - from};`
      ),
    ];
  }
}

/** Loads of a factor: statements before the loop, at the head of a turn, and expressions. */
export interface LeftCode {
  readonly setup: string[];
  readonly loads: string[];
  readonly value: (row: number, q: number) => string;
}

/** Loads of the left factor, shared by the lanes, and where they leave the value of a row and k. */
export function leftCode(factor: Factor, form: LeftForm, tile: CpuTile): LeftCode {
  const { rows, unit, sharing } = tile;
  const depth = leftDepth(form, rows, sharing);
  const perLoad = form === "outer" ? 4 : 1; // rows a lane holds of one load
  const across = Math.min(rows / perLoad, sharing); // lanes that lie along the rows
  const lane = sharing === 1 ? "0u" : "lane";
  const laneK = `(${lane} / ${across}u * ${depth * across / sharing}u)`;
  const addresses = new Addresses("lhs", factor);
  const zero = factor.vector ? "vec4f()" : "0.0";
  const loads: string[] = [];
  for (let h = 0; h < unit / depth; h++) {
    for (let g = 0; g * across * perLoad < rows; g++) {
      const load = addresses.load(h * depth, g * across * perLoad);
      const guarded = factor.guarded
        ? `select(${zero}, ${load}, k + ${laneK} + ${h * depth}u < kEnd)`
        : load;
      loads.push(`let a${h}_${g} = ${guarded};`);
    }
  }
  const setup = addresses.setup("lhsFirst", laneK, `row + ${lane} % ${across}u * ${perLoad}u`);
  const value = (row: number, q: number) => {
    const inLoad = q % depth; // k within a load: lanes, then components
    const perLane = form === "k" ? 4 : 1;
    const unitRow = Math.floor(row / perLoad);
    const source = unitRow % across + across * Math.floor(inLoad / perLane);
    const component = form === "k" ? q % 4 : row % 4;
    const name = `a${Math.floor(q / depth)}_${Math.floor(unitRow / across)}` +
      (factor.vector ? `.${COMPONENTS[component]}` : "");
    return sharing === 1 ? name : `subgroupBroadcast(${name}, ${source}u)`;
  };
  return { setup, loads: [...addresses.turn(), ...loads], value };
}

/** Loads of the right factor: `loads[q / 4]` leave four columns of row k + q in `b<q>_<j>`. */
export interface RightCode {
  readonly setup: string[];
  readonly loads: string[][];
}

/** Loads of the right factor, each lane its own columns. */
export function rightCode(factor: Factor, tile: CpuTile): RightCode {
  const addresses = new Addresses("rhs", factor);
  const guard = (q: number, text: string, zero: string) =>
    factor.guarded ? `select(${zero}, ${text}, k + ${q}u < kEnd)` : text;
  const four = [0, 1, 2, 3];
  const quad = (q0: number, j: number): string[] => {
    const first = j * 4 * tile.lanes;
    const at = (q: number, i: number) => addresses.load(q, first + i);
    if (!factor.vector) {
      return four.map((q) => {
        const parts = four.map((i) => guard(q0 + q, at(q0 + q, i), "0.0"));
        return `let b${q0 + q}_${j} = vec4f(${parts.join(", ")});`;
      });
    }
    if (factor.contiguous === "outer") {
      return four.map((q) => `let b${q0 + q}_${j} = ${guard(q0 + q, at(q0 + q, 0), "vec4f()")};`);
    }
    const name = (i: number) => `t${q0}_${j}_${i}`;
    return [
      ...four.map((i) => `let ${name(i)} = ${guard(q0, at(q0, i), "vec4f()")};`),
      ...four.map((q) =>
        `let b${q0 + q}_${j} = vec4f(${four.map((i) => `${name(i)}.${COMPONENTS[q]}`).join(", ")});`
      ),
    ];
  };
  const columns = Array.from({ length: tile.quads }, (_, j) => j);
  const blocks = Array.from(
    { length: tile.unit / 4 },
    (_, block) => columns.flatMap((j) => quad(4 * block, j)),
  );
  blocks[0].unshift(...addresses.turn());
  return { setup: addresses.setup("rhsFirst", "0u", "col"), loads: blocks };
}

/** Sums over k of the rows of one factor. */
export interface SumCode {
  readonly start: string[];
  /** Adds what the loads of a turn before its block at `q0` have left. */
  readonly turn: (q0: number) => string[];
  readonly finish: string[];
}

/** No sums. */
export const NO_SUMS: SumCode = { start: [], turn: () => [], finish: [] };

/** Sums of the left factor's rows: each lane adds up its own loads, then lanes of equal rows join. */
export function leftSums(factor: Factor, form: LeftForm, tile: CpuTile): SumCode {
  const { rows, unit, sharing } = tile;
  const depth = leftDepth(form, rows, sharing);
  const perLoad = form === "outer" ? 4 : 1;
  const across = Math.min(rows / perLoad, sharing);
  const loads = Array.from({ length: rows / perLoad / across }, (_, g) => g);
  const steps: number[] = [];
  for (let step = across; step < sharing; step *= 2) steps.push(step);
  const zero = factor.vector ? "vec4f()" : "0.0";
  const added = (g: number) =>
    Array.from({ length: unit / depth }, (_, h) => `sum${g} += a${h}_${g};`);
  const join = (g: number) =>
    steps.map((step) => `sum${g} += subgroupShuffleXor(sum${g}, ${step}u);`);
  const values = (g: number) =>
    form === "k"
      ? [`(sum${g}.x + sum${g}.y) + (sum${g}.z + sum${g}.w)`]
      : form === "outer"
      ? [0, 1, 2, 3].map((e) => `sum${g}[${e}]`)
      : [`sum${g}`];
  const stores = (g: number) =>
    values(g).map((value, e) => {
      const at = `row + lane * ${perLoad}u + ${g * across * perLoad + e}u`;
      return `  if (${at} < m) { putSum(slice * m + ${at}, ${value}); }`;
    });
  return {
    start: loads.map((g) => `var sum${g} = ${zero};`),
    turn: (q0) => q0 === 0 ? loads.flatMap(added) : [],
    finish: [
      ...loads.flatMap(join),
      `if (colTile == 0u && lane < ${across}u) {`,
      ...loads.flatMap(stores),
      "}",
    ],
  };
}

/** Sums of the right factor's columns, each lane its own. */
export function rightSums(tile: CpuTile): SumCode {
  const columns = Array.from({ length: tile.quads }, (_, j) => j);
  const four = [0, 1, 2, 3];
  return {
    start: columns.map((j) => `var sum${j} = vec4f();`),
    turn: (q0) =>
      columns.map((j) => {
        const [a, b, c, d] = four.map((q) => `b${q0 + q}_${j}`);
        return `sum${j} += (${a} + ${b}) + (${c} + ${d});`;
      }),
    finish: [
      "if (rowTile == 0u) {",
      ...columns.flatMap((j) =>
        four.map((e) => {
          const at = `col + ${4 * tile.lanes * j + e}u`;
          return `  if (${at} < n) { putSum(slice * n + ${at}, sum${j}[${e}]); }`;
        })
      ),
      "}",
    ],
  };
}

/**
 * How kernels choose their tiles, by adapter class: figures for estimates, and winners of
 * measurements (`deno task bench tune`) by shape class, which go before estimates.
 */
import type { AdapterProfile } from "../engine/device.ts";

/** When a long sum over k is cut into parts that a second dispatch adds up. */
export interface PartsTuning {
  /** Workgroups that keep the adapter busy. */
  readonly workgroups: number;
  /** The least k of a part. */
  readonly shortest: number;
  /** Operations that a part must save others from, or adding the parts up costs more. */
  readonly leastWork: number;
}

/** Figures of software adapters. */
export interface CpuTuning {
  /** Nanoseconds, for all lanes, of a vec4 load, and of a broadcast and vec4 FMA. */
  readonly load: number;
  readonly fma: number;
  /** Rows of a product's tile, the usual ones first. */
  readonly rows: readonly number[];
  /** Filters of a direct convolution's tile. */
  readonly filters: readonly number[];
  /** What another tile than the usual one must save, in nanoseconds, to be worth compiling it. */
  readonly worthAKernel: number;
  /** Below this many floating-point operations, compiling more filters costs more than it saves. */
  readonly smallWork: number;
  readonly parts: PartsTuning;
}

/** Figures of GPUs. */
export interface GpuTuning {
  /** Sides of a product's tile with the blocks of 4 x 4 results of a thread, largest first. */
  readonly tiles: readonly { readonly size: number; readonly quads: readonly [number, number] }[];
  /** Workgroups below which smaller tiles use the adapter better. */
  readonly busy: number;
  readonly parts: PartsTuning;
}

/** Figures of all classes: those of `cpu` were measured on llvmpipe. */
export const TUNING: { readonly cpu: CpuTuning; readonly gpu: GpuTuning } = {
  cpu: {
    load: 19,
    fma: 3,
    rows: [32, 8, 4, 1],
    filters: [32, 16, 8, 4],
    worthAKernel: 100_000,
    smallWork: 1e7,
    parts: { workgroups: 12, shortest: 256, leastWork: 4e6 },
  },
  gpu: {
    tiles: [
      { size: 128, quads: [2, 2] },
      { size: 64, quads: [2, 1] },
      { size: 32, quads: [1, 1] },
    ],
    busy: 96,
    parts: { workgroups: 128, shortest: 256, leastWork: 1e5 },
  },
};

/** Winners of measurements that hold for every adapter of a class: tiles by shape class. */
const MEASURED: Readonly<Record<string, string>> = {};

/** What a tile is chosen for. */
export interface TileQuestion {
  /** Op and shape: what the label of the kernel starts with. */
  readonly label: string;
  /** Shapes with the same text have the same best tile. */
  readonly shapeClass: string;
}

/** Sizes that are told apart: small ones, where the edges of tiles matter, and powers of two. */
const sizeClass = (n: number) => n <= 64 ? n : 2 ** Math.ceil(Math.log2(n));

/** Text of a shape class, as adapters of a class (and number of lanes) know it. */
export function shapeClassOf(
  { class: kind, lanes }: AdapterProfile,
  op: string,
  sizes: readonly number[],
  details = "",
): string {
  const adapter = kind === "cpu" ? `cpu${lanes}` : kind;
  return `${adapter} ${op} ${sizes.map(sizeClass).join("x")} ${details}`.trimEnd();
}

/**
 * The tile that was measured to be the fastest: on this adapter, else on its class. `undefined` where
 * neither knows the shape class, or what it knows is no longer among the `tiles`.
 */
export function measuredTile<T>(
  { label, shapeClass }: TileQuestion,
  tiles: readonly T[],
  nameOf: (tile: T) => string,
  { tiles: own }: Pick<AdapterProfile, "tiles">,
  table: Readonly<Record<string, string>> = MEASURED,
): T | undefined {
  const find = (name: string | undefined) => tiles.find((tile) => nameOf(tile) === name);
  return find(own?.tileOf(shapeClass, tiles.map(nameOf), label)) ?? find(table[shapeClass]);
}

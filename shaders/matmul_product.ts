/**
 * Batched products: what matmul and some convolutions come down to. Cuts a long k into parts that a
 * second dispatch adds up, so that few tiles still keep the whole adapter busy (in a fixed order:
 * results are repeatable).
 */
import type { AdapterProfile } from "../engine/device.ts";
import {
  type Arg,
  type Companion,
  declareSizes,
  type Epilogue,
  grid1d,
  IDENTITY,
  type Lowering,
  type Step,
  storage,
} from "./kernel.ts";
import { cpuProduct, type LeftSums } from "./matmul_cpu.ts";
import { type CpuTile, cpuTile } from "./matmul_cpu_tile.ts";
import { gpuProduct, type GpuTile, gpuTile } from "./matmul_gpu.ts";
import type { Parts, Product } from "./matmul_operand.ts";
import { storeFunction, sumFunction, VECTORS } from "./matmul_store.ts";
import { maximum } from "./nan.ts";
import { MOST_ROUNDS } from "./rounds.ts";
import { expand } from "./template.ts";
import { TUNING } from "./tuning.ts";
import reduceSource from "./matmul_reduce.wgsl" with { type: "text" };

/** Rounds of all loops of an invocation in a turn, which takes `unit` values of k. */
const ROUNDS_OF_TURN = { cpu: 1, gpu: 27 };

function cut(product: Product, tile: CpuTile | GpuTile, profile: AdapterProfile): Parts {
  const { m, n, k, batch } = product;
  const { count: tileCount, unit } = tile;
  const { workgroups, shortest, leastWork } = TUNING[profile.class].parts;
  const wanted = Math.ceil(workgroups / tileCount);
  const longEnough = Math.floor(k / shortest);
  const heavyEnough = Math.floor(2 * batch * m * n * k / leastWork);
  const fitting = Math.floor(profile.maxBindingBytes / (batch * m * n * 4));
  // Half the rounds: storing takes some as well.
  const rounds = k / unit * ROUNDS_OF_TURN[tile.class];
  const least = profile.software ? Math.ceil(rounds / (MOST_ROUNDS / 2)) : 1;
  const count = Math.max(least, Math.min(wanted, longEnough, heavyEnough, fitting));
  const chunk = Math.ceil(Math.ceil(k / count) / unit) * unit;
  return { count: Math.ceil(k / chunk), chunk };
}

/**
 * The dispatches of a product.
 *
 * @param firstScratch index of the first scratch buffer that the lowering may use.
 * @param companion sums of the left factor over k, of an only batch: on CPU adapters alone.
 */
export function lowerProduct(
  product: Product,
  profile: AdapterProfile,
  epilogue: Epilogue,
  firstScratch = 0,
  companion?: Companion,
): Lowering {
  const { batch, reduce, m, n } = product;
  const tile: CpuTile | GpuTile = profile.class === "cpu"
    ? cpuTile(product, profile)
    : gpuTile(product, profile);
  const parts = cut(product, tile, profile);
  const generate = (target: Product, last: Epilogue, sums?: LeftSums): Step =>
    tile.class === "cpu"
      ? cpuProduct(target, tile, parts, profile, last, sums)
      : gpuProduct(target, tile, parts, profile, last);
  const terms = parts.count * reduce;
  if (terms === 1) {
    const sums = companion && { ...companion, out: "companion" } as const;
    return { steps: [generate(product, epilogue, sums)] };
  }
  const bytes = parts.count * batch * m * n * 4;
  const partial: Arg = `tmp${firstScratch}`;
  const size = (batch / reduce) * m * n;
  const { label } = product;
  const rows: Arg = `tmp${firstScratch + 1}`;
  const sums = companion && { epilogue: IDENTITY, out: rows };
  return {
    scratch: companion ? [bytes, terms * m * 4] : [bytes],
    steps: [
      withoutEpilogue(generate({ ...product, out: partial }, IDENTITY, sums)),
      sumParts(
        {
          ...{ label, partial, out: product.out, terms, size, columns: n },
          companion: companion && { ...companion, partial: rows, size: m },
        },
        profile,
        epilogue,
      ),
    ],
  };
}

/** A step whose kernel stores plain values, and so binds nothing of the epilogue. */
const withoutEpilogue = (step: Step): Step => ({
  ...step,
  args: step.args.filter((arg) => arg !== "epilogue" && arg !== "companionEpilogue"),
});

/** Results of `size` elements that stand `terms` times, one after another, in `partial`. */
export interface PartialSums {
  readonly label: string;
  readonly partial: Arg;
  readonly out: Arg;
  readonly terms: number;
  readonly size: number;
  /** Last dimension of the result, where it is known. */
  readonly columns?: number;
  /** How they are joined; `sum` where it is left out. */
  readonly join?: "sum" | "max";
  /** What they are; `f32` where it is left out. */
  readonly scalar?: "f32" | "i32" | "u32";
  /** Sums of as many terms, which the same dispatch adds up. */
  readonly companion?: Companion & { readonly partial: Arg; readonly size: number } | undefined;
}

/** The dispatch that joins partial results, in order, and applies the epilogue. */
export function sumParts(
  parts: PartialSums,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Step {
  const { label, partial, out, terms, size, columns, companion } = parts;
  const { join = "sum", scalar = "f32" } = parts;
  const width = size % 4 === 0 ? 4 : 1;
  const workgroup = profile.class === "cpu" ? 8 : 64;
  const count = size / width;
  const beside = companion?.size ?? 0;
  const grid = grid1d(Math.ceil((count + beside) / workgroup), profile.maxGrid);
  const sizes = {
    ...{ count, terms, columns: columns ?? size, gridWidth: grid[0] },
    ...(companion ? { beside } : {}),
  };
  const result = companion ? 3 : 1;
  const summed = companion
    ? storage(1, "parts") + sumFunction(companion.epilogue, 2, result + 1, companion.size)
    : "";
  const known = columns ? [{ stride: 1, size: columns, code: "x" }] : [];
  const source = expand(reduceSource, {
    bindings: storage(0, "partial", width === 4 ? VECTORS[scalar] : scalar) +
      (join === "sum" || scalar !== "f32" ? "" : maximum(width)) + summed +
      storeFunction(epilogue, result, width, known, scalar),
    companion: companion !== undefined,
    sizes: declareSizes(sizes),
    workgroup,
    width,
    column: columns ? `, i * ${width}u % sizes.columns` : "",
    joined: (a: string, b: string) =>
      join === "sum"
        ? `${a} + ${b}`
        : `${scalar === "f32" ? `maximum_${width}` : "max"}(${a}, ${b})`,
  });
  return {
    kernel: { label: `${label} ${join} of ${terms} parts`, source, grid, sizes },
    args: companion
      ? [partial, companion.partial, "companion", out, "epilogue", "companionEpilogue"]
      : [partial, out, "epilogue"],
  };
}

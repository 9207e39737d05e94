/** Products on GPUs: tile choice and specialisation of `matmul_gpu.wgsl`. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Epilogue, type Step, storage } from "./kernel.ts";
import {
  type Operand,
  type Parts,
  type Product,
  productClass,
  vectorLoads,
} from "./matmul_operand.ts";
import { storeFunction, tiles } from "./matmul_store.ts";
import { expand } from "./template.ts";
import { measuredTile, TUNING } from "./tuning.ts";
import source from "./matmul_gpu.wgsl" with { type: "text" };

/** The tile of one workgroup, of `size` rows and columns and as many threads as both together. */
export interface GpuTile {
  readonly class: "gpu";
  readonly size: number;
  /** Blocks of 4 x 4 results of a thread, along rows and columns. */
  readonly quads: readonly [number, number];
  /** Values of k in a turn of the loop. */
  readonly unit: 16;
  readonly count: number;
}

const nameOf = ({ size }: GpuTile) => `${size}x${size}`;

/**
 * Of the tiles that fit the adapter's limits, the one that was measured to be the fastest, or else the
 * largest that still gives it enough workgroups.
 */
export function gpuTile(product: Product, profile: AdapterProfile): GpuTile {
  const candidates = TUNING.gpu.tiles.filter(({ size }) =>
    2 * size <= profile.maxInvocations && 128 * size <= profile.workgroupBytes
  );
  const counted = candidates.map((tile) => ({
    class: "gpu" as const,
    unit: 16 as const,
    ...tile,
    count: Math.ceil(product.m / tile.size) * Math.ceil(product.n / tile.size) * product.batch,
  }));
  const useful = ({ size }: GpuTile) => size <= 32 || 2 * Math.min(product.m, product.n) > size;
  const question = { label: product.label, shapeClass: productClass(product, profile) };
  const best = measuredTile(question, counted, nameOf, profile) ??
    counted.find((tile) => tile.count >= TUNING.gpu.busy && useful(tile)) ?? counted.at(-1);
  if (!best) {
    throw new RangeError(
      `${product.label}: the adapter allows ${profile.maxInvocations} invocations and ` +
        `${profile.workgroupBytes} bytes of workgroup memory, below the 64 and 4096 needed.`,
    );
  }
  return best;
}

const FOUR = [0, 1, 2, 3];

/** WGSL that fetches rows (columns) `outer`..+3 at `k`..+3 as the matrix with a column for each k. */
function fetchCode(name: "lhs" | "rhs", operand: Operand, k: number, outer: number): string {
  const head = `fn ${name}Fetch(base: u32, outer: u32, k: u32, kEnd: u32) -> mat4x4f`;
  const { stride } = operand;
  if (!vectorLoads(operand, k, outer)) {
    const alongK = operand.contiguous === "k" ? 1 : stride;
    const alongOuter = operand.contiguous === "k" ? stride : 1;
    const element = operand.gather?.(name) ??
      `fn ${name}Element(base: u32, outer: u32, k: u32) -> f32 {
  return ${name}[base + outer * ${alongOuter}u + k * ${alongK}u];
}`;
    return `${element}
${head} {
  var block = mat4x4f();
  for (var q = 0u; q < 4u; q++) {
    if (k + q < kEnd) {
      block[q] = vec4f(${FOUR.map((i) => `${name}Element(base, outer + ${i}u, k + q)`).join(", ")});
    }
  }
  return block;
}`;
  }
  if (operand.contiguous === "outer") {
    const column = (q: number) =>
      `select(vec4f(), ${name}[at + ${q * stride / 4}u], k + ${q}u < kEnd)`;
    return `${head} {
  let at = (base + k * ${stride}u + outer) / 4u;
  return mat4x4f(${FOUR.map(column).join(", ")});
}`;
  }
  const row = (i: number) => `${name}[at + ${i * stride / 4}u]`;
  return `${head} {
  if (k >= kEnd) { return mat4x4f(); }
  let at = (base + outer * ${stride}u + k) / 4u;
  return transpose(mat4x4f(${FOUR.map(row).join(", ")}));
}`;
}

/** WGSL of an operand's first element in batch z. */
function baseCode({ batches }: Operand, batch: number): string {
  const { first, step, modulo = batch } = batches;
  return `${first}u + ${modulo < batch ? `z % ${modulo}u` : "z"} * ${step}u`;
}

/** How threads spread over a tile's blocks: neighbours in memory go to neighbouring threads. */
function spread(operand: Operand, size: number): { quad: string; depth: string } {
  return operand.contiguous === "k"
    ? { quad: "/ 4u", depth: "% 4u" }
    : { quad: `% ${size / 4}u`, depth: `/ ${size / 4}u` };
}

/** The dispatch that computes the product (or its parts, one after another) with `tile`. */
export function gpuProduct(
  product: Product,
  tile: GpuTile,
  parts: Parts,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Step {
  const { m, n, k, lhs, rhs, batch } = product;
  const { size } = tile;
  const wide = n % 4 === 0;
  const rowTiles = Math.ceil(m / size);
  const colTiles = Math.ceil(n / size);
  const { grid, decode } = tiles(rowTiles * colTiles * batch * parts.count, profile.maxGrid);
  const type = (operand: Operand, outer: number) =>
    vectorLoads(operand, k, outer) ? "vec4f" : "f32";
  const [lhsSpread, rhsSpread] = [spread(lhs, size), spread(rhs, size)];
  const code = expand(source, {
    bindings: [
      storage(0, "lhs", type(lhs, m)),
      storage(1, "rhs", type(rhs, n)),
      storeFunction(epilogue, 2, wide ? 4 : 1),
    ].join("\n"),
    fetches: `${fetchCode("lhs", lhs, k, m)}\n${fetchCode("rhs", rhs, k, n)}`,
    BM: size,
    BN: size,
    QM: tile.quads[0],
    QN: tile.quads[1],
    M: m,
    N: n,
    K: k,
    decode,
    batch,
    rowTiles,
    colTiles,
    chunk: parts.chunk,
    lhsBase: baseCode(lhs, batch),
    rhsBase: baseCode(rhs, batch),
    lhsQuad: lhsSpread.quad,
    lhsDepth: lhsSpread.depth,
    rhsQuad: rhsSpread.quad,
    rhsDepth: rhsSpread.depth,
    wide,
  });
  return {
    kernel: { label: `${product.label} gpu ${nameOf(tile)}`, source: code, grid },
    args: [lhs.arg, rhs.arg, product.out, "epilogue"],
  };
}

/** The work that peers are given, as graphs of the engine. */
import {
  add,
  constant,
  conv2d,
  layerNorm,
  matmul,
  mul,
  scaledDotProductAttention,
  softmax,
  type Tensor,
} from "../engine/mod.ts";
import { numel } from "./peers/layout.ts";
import { type CaseKind, type PeerCase, values } from "./peers/protocol.ts";

/** A case with its costs. */
export interface EngineCase {
  readonly work: PeerCase;
  readonly shape: string;
  /** Floating-point operations; 0 for work that memory bounds. */
  readonly flops: number;
  /** Bytes of operands and result. */
  readonly bytes: number;
  readonly output: Tensor;
}

type Shapes = PeerCase["shapes"];

function make(kind: CaseKind, shapes: Shapes, options: Partial<PeerCase> = {}): PeerCase {
  return { kind, shapes, stride: 1, padding: 0, groups: 1, ...options };
}

const product = (m: number, k: number, n: number) => make("matmul", [[m, k], [k, n]]);

function attention(batch: number, heads: number, queries: number, keys: number, dim: number) {
  const kv = [batch, heads, keys, dim];
  return make("attention", [[batch, heads, queries, dim], kv, kv]);
}

const ROWS = [4096, 768];
const WIDTH = [768];

/** Shapes as SAM-2 T and SSS training have them, and the square product that all benchmarks have. */
export const CASES: readonly PeerCase[] = [
  product(1024, 1024, 1024),
  product(4096, 96, 384),
  product(256, 768, 768),
  make("conv2d", [[1, 64, 128, 128], [64, 64, 3, 3]], { padding: 1 }),
  make("conv2d", [[1, 3, 256, 256], [96, 3, 7, 7]], { stride: 4, padding: 3 }),
  make("conv2d", [[1, 64, 64, 64], [256, 64, 3, 3]], { stride: 2, padding: 1 }),
  make("conv2d", [[1, 256, 32, 32], [256, 1, 7, 7]], { padding: 3, groups: 256 }),
  attention(1, 8, 1024, 1024, 32),
  attention(64, 1, 64, 64, 96),
  attention(1, 1, 256, 1792, 256),
  make("softmax", [ROWS]),
  make("layerNorm", [ROWS, WIDTH, WIDTH]),
  make("elementwise", [ROWS]),
];

function graphOf({ kind, stride, padding, groups }: PeerCase, x: readonly Tensor[]): Tensor {
  switch (kind) {
    case "matmul":
      return matmul(x[0], x[1]);
    case "conv2d":
      return conv2d(x[0], x[1], undefined, { stride, padding, groups });
    case "attention":
      return scaledDotProductAttention(x[0], x[1], x[2]);
    case "softmax":
      return softmax(x[0], -1);
    case "layerNorm":
      return layerNorm(x[0], x[1], x[2], 1e-5);
    case "elementwise":
      return add(mul(x[0], x[0]), x[0]);
  }
}

function flopsOf({ kind, shapes: [a, b] }: PeerCase, output: Tensor): number {
  switch (kind) {
    case "matmul":
      return 2 * output.size * a[1];
    case "conv2d":
      return 2 * output.size * numel(b.slice(1));
    case "attention":
      return 4 * numel(a) * b[2];
    default:
      return 0;
  }
}

/** Name, shapes and parameters of a case in one line. */
export function titleOf({ shapes, stride, padding, groups }: PeerCase): string {
  const parts = Object.entries({
    stride: stride - 1 && stride,
    padding,
    groups: groups - 1 && groups,
  })
    .flatMap(([name, value]) => value ? [`${name} ${value}`] : []);
  return [...shapes.map((shape) => `[${shape}]`), ...parts].join(" ");
}

/** The graph of a case on operands in GPU memory. */
export function engineCase(work: PeerCase): EngineCase {
  const inputs = work.shapes.map((shape, i) => constant(values(i + 1, numel(shape)), shape));
  const output = graphOf(work, inputs);
  const bytes = 4 * [...inputs, output].reduce((sum, x) => sum + x.size, 0);
  return { work, shape: titleOf(work), flops: flopsOf(work, output), bytes, output };
}

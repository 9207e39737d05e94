/**
 * What the benchmark and the processes of its peers say to each other: one JSON object a line. All
 * sides make the same inputs and describe their results alike, so that only equal work is compared.
 */

/** Kinds of work that peers know. */
export type CaseKind =
  | "matmul"
  | "conv2d"
  | "attention"
  | "softmax"
  | "layerNorm"
  | "elementwise";

/** One piece of work. Operand i holds `values(i + 1, size)`. */
export interface PeerCase {
  readonly kind: CaseKind;
  /**
   * Shapes of the operands: a [M, K], b [K, N]; x [B, C, H, W], weight [O, C / groups, kh, kw];
   * q [B, H, N, D], k and v [B, H, M, D]; rows [R, C], for `layerNorm` weight and bias [C] too.
   */
  readonly shapes: readonly (readonly number[])[];
  readonly stride: number;
  readonly padding: number;
  readonly groups: number;
}

/** A part of SAM-2 on given weights, for peers that have it. */
export interface PeerModel {
  readonly part: "encoder" | "mask decoder" | "memory attention" | "memory encoder";
  readonly pass: "forward" | "forward+backward";
  /** Shapes of the inputs, which hold `values(i + 1, size)`. */
  readonly shapes: readonly (readonly number[])[];
  /** The model's configuration. */
  readonly config: unknown;
  /** File of all weights one after the other, f32, little endian. */
  readonly weights: string;
  readonly keys: readonly {
    readonly key: string;
    readonly shape: readonly number[];
  }[];
}

/** What a peer is asked to do. */
export type Request =
  | { readonly do: "prepare"; readonly work: PeerCase }
  | { readonly do: "model"; readonly work: PeerModel }
  | { readonly do: "time"; readonly runs: number };

/** What a peer answers; it starts with `ready` or `absent`. */
export type Reply =
  | { readonly ready: string }
  | { readonly absent: string }
  | { readonly unsupported: string }
  | { readonly digest: readonly number[] }
  | { readonly ms: number; readonly cpuMs: number };

/** Marks lines of the protocol among what libraries print. */
export const MARK = "@peer ";

/** `length` values in [-0.5, 0.5) that any language with 32-bit integers can make. */
export function values(
  seed: number,
  length: number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => {
    let h = Math.imul(i + Math.imul(seed, 0x9e3779b9), 2654435761);
    h = Math.imul(h ^ h >>> 15, 2246822519);
    return ((h ^ h >>> 13) >>> 0) / 2 ** 32 - 0.5;
  });
}

/** Values of a result that its digest holds. */
const SAMPLES = 16;

/** A result in a few numbers: its root mean square, then values spread over it. */
export function digest(data: ArrayLike<number>): number[] {
  const { length } = data;
  let squares = 0;
  for (let i = 0; i < length; i++) squares += data[i] * data[i];
  const at = (i: number) => data[(Math.floor(i * length / SAMPLES) + 7 * i) % length];
  return [
    Math.sqrt(squares / length),
    ...Array.from({ length: SAMPLES }, (_, i) => at(i)),
  ];
}

/** Largest difference of two digests over the root mean square of the first. */
export function difference(a: readonly number[], b: readonly number[]): number {
  const scale = Math.max(a[0], 1e-30);
  return a.length === b.length
    ? Math.max(...a.map((value, i) => Math.abs(value - b[i]) / scale))
    : Infinity;
}

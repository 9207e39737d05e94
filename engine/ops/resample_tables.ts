/** Banded matrices of 1-D resampling, computed on the host in float64. */

/** One row per output: `taps` weights on consecutive inputs from `starts[row]`, all inside the input. */
export interface Band {
  /** First input of each output, [length]. */
  readonly starts: Int32Array<ArrayBuffer>;
  /** [length, taps] */
  readonly weights: Float32Array<ArrayBuffer>;
  /** Outputs. */
  readonly length: number;
  /** Weights per output. */
  readonly taps: number;
}

/** Interpolation filters. */
export type ResampleMode = "nearest" | "bilinear" | "bicubic";

type Row = Map<number, number>;

/**
 * The band that resizes `size` samples to `length` as PyTorch does with align_corners=false.
 *
 * @param ratio input samples per output sample, `size / length` unless a scale factor fixes it.
 * @param antialias widens the filter when shrinking, and takes a = -0.5 in the cubic.
 */
export function resizeBand(
  size: number,
  length: number,
  mode: ResampleMode,
  antialias: boolean,
  ratio = size / length,
): Band {
  const row = mode === "nearest"
    ? nearestRow(size, ratio)
    : antialias
    ? antialiasRow(size, ratio, mode)
    : mode === "bilinear"
    ? linearRow(size, ratio)
    : cubicRow(size, ratio);
  return packRows(Array.from({ length }, (_, i) => row(i)), size);
}

/**
 * The transposed band: resampling with it is the gradient of resampling with the given one.
 *
 * @param size number of inputs of the given band.
 */
export function transposeBand(
  starts: Int32Array,
  weights: Float32Array,
  size: number,
): Band {
  const taps = weights.length / starts.length;
  const rows = Array.from({ length: size }, (): Row => new Map());
  for (let i = 0; i < starts.length; i++) {
    for (let t = 0; t < taps; t++) {
      const weight = weights[i * taps + t];
      if (weight !== 0) rows[starts[i] + t].set(i, weight);
    }
  }
  return packRows(rows, starts.length);
}

/** True where resampling changes nothing. */
export function isIdentity(band: Band, size: number): boolean {
  return band.taps === 1 && band.length === size &&
    band.starts.every((start, i) => start === i) && band.weights.every((w) => w === 1);
}

/** Rows of equal width; starts move left where the widest row would pass the end of the input. */
function packRows(rows: readonly Row[], size: number): Band {
  const spans = rows.map((row): [number, number] => {
    let [from, to] = [Infinity, 0];
    for (const [index, weight] of row) {
      if (weight !== 0) [from, to] = [Math.min(from, index), Math.max(to, index + 1)];
    }
    return to === 0 ? [0, 1] : [from, to];
  });
  const taps = spans.reduce((most, [from, to]) => Math.max(most, to - from), 1);
  const starts = Int32Array.from(spans, ([from]) => Math.min(from, size - taps));
  const weights = new Float32Array(rows.length * taps);
  rows.forEach((row, i) => {
    for (const [index, weight] of row) {
      if (weight !== 0) weights[i * taps + index - starts[i]] = weight;
    }
  });
  return { starts, weights, length: rows.length, taps };
}

/** PyTorch computes the nearest index in float32, which decides at exact boundaries. */
function nearestRow(size: number, ratio: number): (i: number) => Row {
  const step = Math.fround(ratio);
  return (i) => new Map([[Math.min(Math.floor(Math.fround(i * step)), size - 1), 1]]);
}

function linearRow(size: number, ratio: number): (i: number) => Row {
  return (i) => {
    const x = Math.max(0, ratio * (i + 0.5) - 0.5);
    const low = Math.min(Math.floor(x), size - 1);
    const high = Math.min(low + 1, size - 1);
    return sumTaps([[low, 1 - (x - low)], [high, x - low]]);
  };
}

function cubicRow(size: number, ratio: number): (i: number) => Row {
  return (i) => {
    const x = ratio * (i + 0.5) - 0.5;
    const base = Math.floor(x);
    // Taps beyond the edge repeat the edge sample, so their weights merge there.
    return sumTaps([-1, 0, 1, 2].map((t): [number, number] => [
      Math.min(Math.max(base + t, 0), size - 1),
      cubic(x - (base + t), -0.75),
    ]));
  };
}

function antialiasRow(size: number, ratio: number, mode: ResampleMode): (i: number) => Row {
  const stretch = Math.max(ratio, 1);
  const support = (mode === "bicubic" ? 2 : 1) * stretch;
  const filter = mode === "bicubic" ? (x: number) => cubic(x, -0.5) : triangle;
  return (i) => {
    const center = ratio * (i + 0.5);
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), size);
    const taps: [number, number][] = [];
    for (let j = first; j < end; j++) taps.push([j, filter((j - center + 0.5) / stretch)]);
    const total = taps.reduce((sum, [, weight]) => sum + weight, 0);
    return sumTaps(taps.map(([j, weight]) => [j, weight / total]));
  };
}

function sumTaps(taps: readonly [number, number][]): Row {
  const row: Row = new Map();
  for (const [index, weight] of taps) row.set(index, (row.get(index) ?? 0) + weight);
  return row;
}

function triangle(x: number): number {
  return Math.max(0, 1 - Math.abs(x));
}

/** Keys' cubic convolution kernel. */
function cubic(x: number, a: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
  return 0;
}

/**
 * Memory of one plan: where its intermediates lie in the arena, from the times at which they are needed.
 * The arena is one range of offsets, held by as few buffers as the adapter's largest allows: its pieces.
 */

/** What a value needs of the arena: bytes, from dispatch `first` to dispatch `last`, both included. */
export interface Span {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** Places of spans in an arena. */
export interface Layout {
  /** Byte offset of each span. */
  readonly offsets: readonly number[];
  /** Bytes that the arena needs. */
  readonly bytes: number;
}

/** Most bytes that spans need at one time: no layout gets by with less. */
export function liveBytes(spans: readonly Span[]): number {
  const change = new Map<number, number>();
  const add = (at: number, bytes: number) => change.set(at, (change.get(at) ?? 0) + bytes);
  for (const { bytes, first, last } of spans) {
    add(first, bytes);
    add(last + 1, -bytes);
  }
  let [live, most] = [0, 0];
  for (const [, bytes] of [...change].sort(([a], [b]) => a - b)) {
    live += bytes;
    most = Math.max(most, live);
  }
  return most;
}

type Order = (a: Span, b: Span) => number;

/** Bytes times dispatches. */
const area = ({ bytes, first, last }: Span) => bytes * (last - first + 1);

/**
 * Orders in which spans are placed, each the best one for some graphs: large spans are hard to place
 * late; long ones split the arena for all others where they lie in its middle.
 */
const ORDERS: readonly Order[] = [
  (a, b) => b.bytes - a.bytes || a.first - b.first,
  (a, b) => area(b) - area(a) || a.first - b.first,
];

/** Bytes of the buffers that hold an arena: all but the last have `pieceBytes`. */
export function pieceSizes(arenaBytes: number, pieceBytes: number): number[] {
  return Array.from(
    { length: Math.ceil(arenaBytes / pieceBytes) },
    (_, i) => Math.min(pieceBytes, arenaBytes - i * pieceBytes),
  );
}

/** The first offset from `offset` on at which `bytes` lie in one piece. */
function withinPiece(offset: number, bytes: number, pieceBytes: number): number {
  if (pieceBytes === Infinity) return offset;
  const end = (Math.floor(offset / pieceBytes) + 1) * pieceBytes;
  return offset + bytes <= end ? offset : end;
}

/** Puts each span, in an order, into the smallest gap between those placed before that are needed with it. */
function placed(spans: readonly Span[], order: Order, pieceBytes: number): Layout {
  const offsets = new Array<number>(spans.length);
  // The spans placed so far by offset, in typed arrays: each span looks through all of them.
  const starts = new Float64Array(spans.length);
  const ends = new Float64Array(spans.length);
  const firsts = new Int32Array(spans.length);
  const lasts = new Int32Array(spans.length);
  let end = 0;
  const indices = spans.map((_, i) => i).sort((a, b) => order(spans[a], spans[b]) || a - b);
  indices.forEach((index, count) => {
    const { bytes, first, last } = spans[index];
    let [free, best, smallest] = [0, -1, Infinity];
    for (let i = 0; i < count; i++) {
      if (lasts[i] < first || firsts[i] > last) continue;
      // Only a gap that is large enough is worth a look at the pieces.
      if (starts[i] - free >= bytes) {
        const start = withinPiece(free, bytes, pieceBytes);
        const gap = starts[i] - start;
        if (gap >= bytes && gap < smallest) [best, smallest] = [start, gap];
      }
      if (ends[i] > free) free = ends[i];
    }
    const offset = best >= 0 ? best : withinPiece(free, bytes, pieceBytes);
    offsets[index] = offset;
    end = Math.max(end, offset + bytes);
    let at = count;
    while (at > 0 && starts[at - 1] > offset) at--;
    const insert = (row: Float64Array | Int32Array, value: number) => {
      row.copyWithin(at + 1, at, count);
      row[at] = value;
    };
    insert(starts, offset);
    insert(ends, offset + bytes);
    insert(firsts, first);
    insert(lasts, last);
  });
  return { offsets, bytes: end };
}

/**
 * Lays spans out so that those needed at the same time lie apart; their sizes must be aligned.
 *
 * @param pieceBytes no span crosses a multiple of it, nor may be larger.
 */
export function layOut(spans: readonly Span[], pieceBytes: number = Infinity): Layout {
  const layouts = ORDERS.map((order) => placed(spans, order, pieceBytes));
  return layouts.reduce((a, b) => b.bytes < a.bytes ? b : a);
}

/** Random graphs for property-based tests: small, of awkward shapes, each value with several readers. */
import {
  abs,
  add,
  amax,
  argmax,
  cast,
  cat,
  clamp,
  cos,
  cumsum,
  detach,
  div,
  eq,
  erf,
  exp,
  expand,
  flip,
  floor,
  gelu,
  gt,
  indexSelect,
  le,
  log,
  logSoftmax,
  lt,
  matmul,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  pad,
  permute,
  pow,
  relu,
  reshape,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  slice,
  softmax,
  softplus,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  type Tensor,
  tensor,
  transpose,
  where,
} from "../engine/mod.ts";
import { numel, type Shape } from "../engine/shape.ts";
import type { Random } from "../train/data/random.ts";

/** A graph with what it is asked for. */
export interface RandomGraph {
  readonly leaves: readonly Tensor[];
  /** Values in the middle and at the end. */
  readonly outputs: readonly Tensor[];
  /** A scalar that depends on all outputs. */
  readonly loss: Tensor;
}

const SIZES = [1, 2, 3, 4, 5, 8, 17, 33];
/** Sizes of last dimensions: whole vectors, or not. */
const LAST = [1, 3, 4, 8, 8, 12, 17, 33];
const MOST = 1200;

/** Functions of one tensor that stay within float32 for any values. */
const UNARY: readonly ((x: Tensor) => Tensor)[] = [
  neg,
  abs,
  sign,
  floor,
  relu,
  gelu,
  silu,
  sin,
  cos,
  tanh,
  sigmoid,
  erf,
  softplus,
  square,
  (x) => exp(neg(abs(x))),
  (x) => log(add(abs(x), 0.5)),
  (x) => sqrt(add(square(x), 0.25)),
  (x) => rsqrt(add(abs(x), 1)),
  (x) => pow(add(abs(x), 0.5), 1.5),
  (x) => clamp(x, -0.7, 0.9),
  (x) => mul(detach(sigmoid(x)), x),
  (x) => where(gt(x, 0.25), x, mul(x, 0.125)),
];

const BINARY: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
  add,
  sub,
  mul,
  maximum,
  minimum,
  lt,
  le,
  eq,
  (a, b) => div(a, add(abs(b), 1)),
  (a, b) => where(lt(a, b), mul(a, b), sub(a, b)),
  (a, b) => add(mul(a, b), mul(b, 0.5)),
];

/** Builds a graph step by step. */
class Builder {
  readonly leaves: Tensor[] = [];
  private readonly pool: Tensor[] = [];

  constructor(private readonly random: Random) {
    for (let i = 0; i < 2; i++) this.pool.push(this.leaf(this.shape()));
  }

  private choose<T>(items: readonly T[]): T {
    return items[this.random.integer(items.length)];
  }

  private shape(): number[] {
    for (;;) {
      const rank = this.random.integer(5);
      const shape = Array.from(
        { length: rank },
        (_, d) => this.choose(d === rank - 1 ? LAST : SIZES),
      );
      if (numel(shape) <= MOST) return shape;
    }
  }

  /** A leaf of few distinct values now and then: ties must be settled alike everywhere. */
  private leaf(shape: Shape): Tensor {
    const coarse = this.random.integer(4) === 0;
    const draw = () => this.random.uniform(-2, 2);
    const values = Float32Array.from(
      { length: numel(shape) },
      () => coarse ? Math.round(2 * draw()) / 2 : draw(),
    );
    const made = tensor(values, shape);
    this.leaves.push(made);
    return made;
  }

  /** A value that exists, rather a late one. */
  private pick(): Tensor {
    const back = Math.min(this.random.integer(this.pool.length), this.random.integer(4));
    return this.pool[this.pool.length - 1 - back];
  }

  /** A partner for `x`: another value, or a new leaf that broadcasts. */
  private partner(x: Tensor): Tensor {
    const fitting = this.pool.filter((y) =>
      y !== x && y.rank <= x.rank &&
      y.shape.every((size, i) => size === 1 || size === x.shape[x.rank - y.rank + i])
    );
    if (fitting.length > 0 && this.random.integer(3) > 0) return this.choose(fitting);
    const shape = x.shape.map((size) => this.random.integer(3) === 0 ? 1 : size);
    return this.leaf(shape.slice(this.random.integer(shape.length + 1)));
  }

  private dim(x: Tensor): number {
    return this.random.integer(x.rank);
  }

  private movement(x: Tensor): Tensor {
    const d = this.dim(x);
    const size = x.shape[d];
    const kinds: (() => Tensor)[] = [
      () => permute(x, this.random.shuffled(x.shape.map((_, i) => i))),
      () => reshape(x, [-1]),
      () => reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]),
      () => flip(x, [d]),
      () => pad(x, x.shape.map(() => [this.random.integer(3), this.random.integer(4)]), 0.5),
      () => pad(x, x.shape.map((_, i) => i === d ? [1, 3] : [0, 0])),
      () => slice(x, d, this.random.integer(size), size, 1 + this.random.integer(3)),
      ...new Array<() => Tensor>(4).fill(() => this.vectors(x)),
      () => expand(reshape(x, [1, ...x.shape]), [this.choose([2, 3]), ...x.shape]),
      () => cat([x, neg(x), this.leaf(x.shape)], d),
      () => cat([slice(x, d, 0, 1), x], d),
      () => {
        const length = this.choose(SIZES);
        const rows = Uint32Array.from({ length }, () => this.random.integer(size));
        return indexSelect(x, d, tensor(rows));
      },
    ];
    return this.choose(kinds)();
  }

  /** A piece of the last dimension that vectors can hold, wherever it begins. */
  private vectors(x: Tensor): Tensor {
    const size = x.shape[x.rank - 1];
    const length = Math.max(1, size - size % 4 - (size % 4 === 0 ? 4 : 0));
    const start = this.random.integer(size - length + 1);
    return slice(x, x.rank - 1, start, start + length);
  }

  private reduction(x: Tensor): Tensor {
    const d = this.dim(x);
    const some = x.shape.flatMap((_, i) => i === d || this.random.integer(2) === 0 ? [i] : []);
    const keep = this.random.integer(2) === 0;
    return this.choose([
      () => sum(x, some, keep),
      () => mean(x, some, keep),
      () => amax(x, some, keep),
      () => sub(x, mean(x, d, true)),
      () => cast(argmax(x, d, keep), "f32"),
      () => softmax(x, d),
      () => logSoftmax(x, d),
      () => cumsum(x, d),
    ])();
  }

  private product(x: Tensor): Tensor {
    const right = this.leaf([x.shape[x.rank - 1], this.choose(SIZES)]);
    const product = this.random.integer(2) === 0
      ? matmul(x, right)
      : matmul(x, transpose(this.leaf([...right.shape].reverse()), 0, 1));
    const bias = this.leaf(product.shape.slice(-1));
    return this.choose([
      () => product,
      () => relu(add(product, bias)),
      () => add(gelu(product), bias),
      () => mul(product, this.partner(product)),
    ])();
  }

  /** Adds a value that is made of others. */
  grow(): void {
    const x = this.pick();
    const kind = this.random.integer(20);
    const made = kind < 6 || x.rank === 0
      ? this.choose(UNARY)(x)
      : kind < 12
      ? this.choose(BINARY)(x, this.partner(x))
      : kind < 16
      ? this.movement(x)
      : kind < 19
      ? this.reduction(x)
      : this.product(x);
    if (made.size <= MOST) this.pool.push(made);
  }

  /** The latest value and some before it, and a loss that weighs all their elements. */
  finish(): RandomGraph {
    const [last, ...others] = this.pool.toReversed();
    const outputs = [
      last,
      ...others.filter((x) => x.op !== "leaf" && this.random.integer(4) === 0),
    ];
    const weighted = outputs.map((x) => sum(mul(x, this.weights(x.shape))));
    return { leaves: this.leaves, outputs, loss: weighted.reduce(add) };
  }

  private weights(shape: Shape): Tensor {
    return tensor(
      Float32Array.from({ length: numel(shape) }, () => this.random.uniform(-1, 1)),
      shape,
    );
  }
}

/** The graph of a stream of random numbers. */
export function randomGraph(random: Random): RandomGraph {
  const builder = new Builder(random);
  for (let i = 3 + random.integer(6); i > 0; i--) builder.grow();
  return builder.finish();
}

/** The primitives with kernels of their own in plain TypeScript, for the graph interpreter. */
import type { Attributes } from "../engine/attributes.ts";
import type { AxisView } from "../engine/shape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { blank, type Bounded, FUNCTION_ERROR, ROUNDING } from "./bounded.ts";

/** a [A, M, K] times b [B, K, N], each possibly transposed. */
export function matmul(n: Tensor, [a, b]: readonly Bounded[]): Bounded {
  const { transA, transB } = n.attributes as Attributes["matmul"];
  const [, rows, columns] = n.shape;
  const [shapeA, shapeB] = n.inputs.map((x) => x.shape);
  const depth = transA ? shapeA[1] : shapeA[2];
  const out = blank(n.size);
  for (let at = 0; at < n.size; at++) {
    const [z, i, j] = [
      Math.floor(at / rows / columns),
      Math.floor(at / columns) % rows,
      at % columns,
    ];
    const [fromA, fromB] = [z % shapeA[0] * rows * depth, z % shapeB[0] * columns * depth];
    let [sum, size, off] = [0, 0, 0];
    for (let k = 0; k < depth; k++) {
      const p = fromA + (transA ? k * rows + i : i * depth + k);
      const q = fromB + (transB ? j * depth + k : k * columns + j);
      const product = a.value[p] * b.value[q];
      sum += product;
      size += Math.abs(product);
      off += Math.abs(a.value[p]) * b.error[q] + (Math.abs(b.value[q]) + b.error[q]) * a.error[p];
    }
    out.value[at] = sum;
    out.error[at] = off + (depth + 1) * ROUNDING * (size + off);
  }
  return out;
}

/** Calls `line` with the flat indices of the elements of each line of a view. */
function eachLine({ outer, size, inner }: AxisView, line: (at: number[]) => void): void {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      line(Array.from({ length: size }, (_, k) => (o * size + k) * inner + i));
    }
  }
}

/** Running sums. */
export function cumulate(n: Tensor, x: Bounded): Bounded {
  const view = n.attributes as Attributes["cumsum"];
  const out = blank(n.size);
  eachLine(view, (at) => {
    let [sum, size, off] = [0, 0, 0];
    for (const i of view.reverse ? at.toReversed() : at) {
      sum += x.value[i];
      size += Math.abs(x.value[i]);
      off += x.error[i];
      out.value[i] = sum;
      out.error[i] = off + at.length * ROUNDING * (size + off);
    }
  });
  return out;
}

/** Rows of [outer, n, inner] summed into those that an index names. */
export function indexAdd(n: Tensor, [g, index]: readonly Bounded[]): Bounded {
  const { size, inner } = n.attributes as AxisView;
  const rows = index.value.length;
  const out = blank(n.size);
  const sizes = new Float64Array(n.size);
  for (let at = 0; at < g.value.length; at++) {
    const [o, row, i] = [Math.floor(at / rows / inner), Math.floor(at / inner) % rows, at % inner];
    const to = (o * size + index.value[row]) * inner + i;
    out.value[to] += g.value[at];
    sizes[to] += Math.abs(g.value[at]) + g.error[at];
    out.error[to] += g.error[at] + rows * ROUNDING * sizes[to];
  }
  return out;
}

/** Softmax and its logarithm. */
export function normalised(n: Tensor, x: Bounded): Bounded {
  const out = blank(n.size);
  eachLine(n.attributes as AxisView, (at) => {
    const top = at.reduce((most, i) => Math.max(most, x.value[i]), -Infinity);
    const mass = at.reduce((sum, i) => sum + Math.exp(x.value[i] - top), 0);
    const shift = 2 * at.reduce((most, i) => Math.max(most, x.error[i]), 0);
    for (const i of at) {
      const log = x.value[i] - top - Math.log(mass);
      const off = shift + ROUNDING * (Math.abs(x.value[i]) + Math.abs(top) + Math.abs(log)) +
        at.length * ROUNDING + FUNCTION_ERROR;
      const logarithm = n.op === "logSoftmax";
      out.value[i] = logarithm ? log : Math.exp(log);
      out.error[i] = logarithm ? off : out.value[i] * Math.expm1(off) + 1e-37;
    }
  });
  return out;
}

/** The gradients of both, from the result y and its gradient g. */
export function normalisedBackward(n: Tensor, [y, g]: readonly Bounded[]): Bounded {
  const out = blank(n.size);
  const soft = n.op === "softmaxBackward";
  eachLine(n.attributes as AxisView, (at) => {
    let [sum, size, off] = [0, 0, 0];
    for (const i of at) {
      const weight = soft ? y.value[i] : 1;
      sum += weight * g.value[i];
      size += Math.abs(weight * g.value[i]);
      off += Math.abs(weight) * g.error[i] + (soft ? y.error[i] * Math.abs(g.value[i]) : 0);
    }
    off += (at.length + 1) * ROUNDING * (size + off);
    for (const i of at) {
      const p = soft ? y.value[i] : Math.exp(y.value[i]);
      const offP = soft ? y.error[i] : p * (Math.expm1(y.error[i]) + FUNCTION_ERROR);
      const other = soft ? g.value[i] - sum : sum;
      const offOther = soft ? g.error[i] + off : off;
      const product = p * other;
      out.value[i] = soft ? product : g.value[i] - product;
      const offProduct = p * offOther + offP * (Math.abs(other) + offOther);
      out.error[i] = offProduct + (soft ? 0 : g.error[i]) +
        4 * ROUNDING * (Math.abs(product) + Math.abs(g.value[i]) * (soft ? p : 1));
    }
  });
  return out;
}

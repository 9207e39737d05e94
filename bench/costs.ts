/** What a primitive costs at least: arithmetic operations, and bytes read and written. */
import type { Attributes, Tensor } from "../engine/mod.ts";

/** Matrix products that attention's backward pass needs; the forward pass needs two. */
const BACKWARD_PRODUCTS = 5;

function attentionFlops({ inputs: [q, k], attributes }: Tensor, products: number): number {
  const [batch, queries, heads, dim] = q.shape;
  const { causal } = attributes as Attributes["attention"];
  return products * 2 * batch * heads * queries * k.shape[1] * dim * (causal ? 0.5 : 1);
}

/** Multiply-adds of each output value of a convolution with this weight, twice. */
const perOutput = (weight: Tensor) => 2 * weight.size / weight.shape[0];

/**
 * Floating-point operations of a node's definition, a multiply-add counted as two: what a kernel
 * recomputes does not count. 0 for primitives that memory bounds.
 */
export function flopsOf(node: Tensor): number {
  const { op, inputs, size, shape } = node;
  switch (op) {
    case "matmul": {
      const { transA } = node.attributes as Attributes["matmul"];
      return 2 * size * inputs[0].shape[transA ? 1 : 2];
    }
    case "conv2d":
      return size * perOutput(inputs[1]);
    case "conv2dInput":
      return inputs[0].size * perOutput(inputs[1]);
    case "conv2dWeight":
      return inputs[1].size * 2 * size / shape[0];
    case "attention":
      return attentionFlops(node, 2);
    case "attentionBackward":
      return attentionFlops(node, BACKWARD_PRODUCTS);
    default:
      return 0;
  }
}

/** Values of attributes that go without saying. */
const PLAIN: Readonly<Record<string, string>> = { stride: "1,1", padding: "0,0", groups: "1" };

/** Shapes and attributes of a node as text. */
export function describe({ op, inputs, attributes }: Tensor): string {
  const telling = op === "attentionBackward" ? inputs.slice(0, 3) : inputs;
  const shapes = telling.map((x) => `[${x.shape}]`);
  const named = Object.entries(attributes).flatMap(([name, value]) => {
    if (value === false || String(value) === PLAIN[name] || name === "eps") return [];
    return [value === true ? name : `${name} ${short(value)}`];
  });
  return [...shapes, ...named].join(" ");
}

const short = (value: unknown) =>
  typeof value === "number" && !Number.isInteger(value) ? value.toPrecision(3) : String(value);

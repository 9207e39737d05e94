/** Writes ONNX models of one or a few nodes: just enough of the format for single ops. */

type Bytes = readonly number[];

function varint(value: number): Bytes {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) {
    bytes.push(rest % 128 | 128);
  }
  return [...bytes, rest];
}

const WIRE = { integer: 0, bytes: 2, float: 5 } as const;

const tag = (field: number, wire: number): Bytes => varint(field * 8 + wire);
const integer = (field: number, value: number): Bytes => [
  ...tag(field, WIRE.integer),
  ...varint(value),
];
const message = (field: number, content: Bytes): Bytes => [
  ...tag(field, WIRE.bytes),
  ...varint(content.length),
  ...content,
];
const text = (field: number, value: string): Bytes =>
  message(field, [...new TextEncoder().encode(value)]);
const float = (field: number, value: number): Bytes => [
  ...tag(field, WIRE.float),
  ...new Uint8Array(Float32Array.of(value).buffer),
];

/** A whole number, a list of them, or a number of type f32. */
export type Attribute = number | readonly number[] | { readonly float: number };

/** Values of `AttributeProto.type`. */
const TYPE = { float: 1, integer: 2, integers: 7 } as const;

function attribute(name: string, value: Attribute): Bytes {
  if (typeof value === "number") {
    return [
      ...text(1, name),
      ...integer(3, value),
      ...integer(20, TYPE.integer),
    ];
  }
  if ("float" in value) {
    return [
      ...text(1, name),
      ...float(2, value.float),
      ...integer(20, TYPE.float),
    ];
  }
  const items = value.flatMap((item) => integer(8, item));
  return [...text(1, name), ...items, ...integer(20, TYPE.integers)];
}

/** One op of a graph. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
}

function nodeBytes(
  { op, inputs, outputs, attributes = {}, domain }: OnnxNode,
): Bytes {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, value]) => message(5, attribute(name, value))),
    ...domain ? text(7, domain) : [],
  ];
}

/** f32 values of a shape. */
function valueInfo(name: string, shape: readonly number[]): Bytes {
  const dims = shape.flatMap((size) => message(1, integer(1, size)));
  const tensor = [...integer(1, 1), ...message(2, dims)];
  return [...text(1, name), ...message(2, message(1, tensor))];
}

/** Named tensors with their shapes. */
export type Values = Readonly<Record<string, readonly number[]>>;

/** A model that computes `outputs` from `inputs`, all f32. */
export function onnxModel(
  nodes: readonly OnnxNode[],
  inputs: Values,
  outputs: Values,
): Uint8Array<ArrayBuffer> {
  const infos = (field: number, all: Values) =>
    Object.entries(all).flatMap(([name, shape]) => message(field, valueInfo(name, shape)));
  const graph = [
    ...nodes.flatMap((node) => message(1, nodeBytes(node))),
    ...text(2, "graph"),
    ...infos(11, inputs),
    ...infos(12, outputs),
  ];
  return Uint8Array.from([
    ...integer(1, 8),
    ...message(7, graph),
    ...message(8, integer(2, 17)),
    ...message(8, [...text(1, "com.microsoft"), ...integer(2, 1)]),
  ]);
}

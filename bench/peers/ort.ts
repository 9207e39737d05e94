/** ONNX Runtime Web on its WebGPU provider, operands and results in GPU memory. */
import { numel, operands, permuted } from "./layout.ts";
import { onnxModel, type OnnxNode } from "./onnx.ts";
import type { PeerCase } from "./protocol.ts";
import { type Library, type Prepared, serve } from "./worker.ts";

/** A tensor of the library. */
interface OrtTensor {
  getData(): Promise<Float32Array>;
  dispose(): void;
}

type Tensors = Readonly<Record<string, OrtTensor>>;

interface Session {
  run(feeds: Tensors): Promise<Tensors>;
  release(): Promise<void>;
}

/** The parts of the library that are used here. */
interface OnnxRuntime {
  readonly env: {
    readonly versions: { readonly web: string };
    readonly wasm: { numThreads: number };
    readonly webgpu: { readonly device: GPUDevice | Promise<GPUDevice> };
    logLevel: string;
  };
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options: Record<string, unknown>,
    ): Promise<Session>;
  };
  readonly Tensor: {
    fromGpuBuffer(
      buffer: GPUBuffer,
      options: { dataType: "float32"; dims: readonly number[] },
    ): OrtTensor;
  };
}

/** Names of operands, in order. */
const NAMES = ["a", "b", "c"];

/** [B, H, N, D] to [B, N, H D], which the fused attention takes. */
const HEADS = [0, 2, 1, 3];

/** The nodes of a case; the last one's output is `y`. */
function nodesOf(
  { kind, shapes, stride, padding, groups }: PeerCase,
): OnnxNode[] {
  const node = (
    op: string,
    attributes: OnnxNode["attributes"] = {},
    domain = "",
  ): OnnxNode[] => [
    {
      op,
      inputs: NAMES.slice(0, shapes.length),
      outputs: ["y"],
      attributes,
      domain,
    },
  ];
  switch (kind) {
    case "matmul":
      return node("MatMul");
    case "conv2d":
      return node("Conv", {
        group: groups,
        kernel_shape: shapes[1].slice(2),
        pads: [padding, padding, padding, padding],
        strides: [stride, stride],
      });
    case "attention":
      return node(
        "MultiHeadAttention",
        { num_heads: shapes[0][1] },
        "com.microsoft",
      );
    case "softmax":
      return node("Softmax", { axis: 1 });
    case "layerNorm":
      return node("LayerNormalization", { axis: 1, epsilon: { float: 1e-5 } });
    case "elementwise":
      return [
        { op: "Mul", inputs: ["a", "a"], outputs: ["t"] },
        { op: "Add", inputs: ["t", "a"], outputs: ["y"] },
      ];
  }
}

function outputShape(
  { kind, shapes, stride, padding }: PeerCase,
): readonly number[] {
  const [a, b] = shapes;
  if (kind === "matmul") return [a[0], b[1]];
  if (kind !== "conv2d") return a;
  const side = (d: number) => Math.floor((a[d] + 2 * padding - b[d]) / stride) + 1;
  return [a[0], b[0], side(2), side(3)];
}

async function open(): Promise<Library> {
  const name = "onnxruntime-web/webgpu";
  const ort = await import(name) as OnnxRuntime;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const prepare = async (work: PeerCase): Promise<Prepared> => {
    const heads = work.kind === "attention";
    const given = operands(work).map(({ data, shape }) => {
      if (!heads) return { data, shape };
      const [batch, count, tokens, dim] = shape;
      return {
        ...permuted(data, shape, HEADS),
        shape: [batch, tokens, count * dim],
      };
    });
    const out = outputShape({ ...work, shapes: given.map((x) => x.shape) });
    const inputs = Object.fromEntries(
      given.map(({ shape }, i) => [NAMES[i], shape]),
    );
    const session = await ort.InferenceSession.create(
      onnxModel(nodesOf(work), inputs, { y: out }),
      {
        executionProviders: ["webgpu"],
        preferredOutputLocation: "gpu-buffer",
      },
    );
    const device = await ort.env.webgpu.device;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC |
      GPUBufferUsage.COPY_DST;
    const buffers = given.map(({ data }) => {
      const buffer = device.createBuffer({ size: data.byteLength, usage });
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    });
    const feeds = Object.fromEntries(given.map(({ shape }, i) => [
      NAMES[i],
      ort.Tensor.fromGpuBuffer(buffers[i], {
        dataType: "float32",
        dims: shape,
      }),
    ]));
    let last: OrtTensor | undefined;
    return {
      async run() {
        last?.dispose();
        last = (await session.run(feeds)).y;
      },
      settle: () => device.queue.onSubmittedWorkDone().then(() => {}),
      async result() {
        const data = await last!.getData();
        last = undefined;
        if (!heads) return data;
        const [batch, count, tokens, dim] = work.shapes[0];
        return permuted(data.subarray(0, numel(out)), [
          batch,
          tokens,
          count,
          dim,
        ], HEADS).data;
      },
      free() {
        last?.dispose();
        buffers.forEach((buffer) => buffer.destroy());
        session.release();
      },
    };
  };
  return { name: `ONNX Runtime Web ${ort.env.versions.web}`, prepare };
}

if (import.meta.main) await serve(open);

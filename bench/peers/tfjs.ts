/** TensorFlow.js on its WebGPU backend. */
import { numel, operands, permuted } from "./layout.ts";
import type { PeerCase } from "./protocol.ts";
import { type Library, type Prepared, serve } from "./worker.ts";

/** A tensor of the library. */
interface TfTensor {
  readonly shape: readonly number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The functions of the library that are used here. */
interface TensorFlow {
  readonly version_core: string;
  setBackend(name: string): Promise<boolean>;
  backend(): { readonly device: GPUDevice };
  env(): { set(flag: string, value: number): void };
  tidy(f: () => TfTensor): TfTensor;
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  matMul(
    a: TfTensor,
    b: TfTensor,
    transposeA?: boolean,
    transposeB?: boolean,
  ): TfTensor;
  conv2d(
    x: TfTensor,
    w: TfTensor,
    stride: number,
    padding: number | Pads,
  ): TfTensor;
  depthwiseConv2d(
    x: TfTensor,
    w: TfTensor,
    stride: number,
    padding: number | Pads,
  ): TfTensor;
  softmax(x: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor | number): TfTensor;
  add(a: TfTensor, b: TfTensor | number): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  rsqrt(x: TfTensor): TfTensor;
  moments(
    x: TfTensor,
    axes: number[],
    keep: boolean,
  ): { mean: TfTensor; variance: TfTensor };
}

/** Zeros before and after each dimension of [B, H, W, C]. */
type Pads = readonly (readonly [number, number])[];

type Compute = (inputs: readonly TfTensor[]) => TfTensor;

/** The library's tensors have channels last: [B, H, W, C] and [kh, kw, C, O]. */
const CHANNELS_LAST = [0, 2, 3, 1];
const KERNEL_FIRST = [2, 3, 1, 0];
const CHANNELS_FIRST = [0, 3, 1, 2];

function computeOf(
  tf: TensorFlow,
  { kind, stride, padding, groups, shapes }: PeerCase,
): Compute {
  const pads: Pads = [[0, 0], [padding, padding], [padding, padding], [0, 0]];
  switch (kind) {
    case "matmul":
      return ([a, b]) => tf.matMul(a, b);
    case "conv2d":
      return groups === 1
        ? ([x, w]) => tf.conv2d(x, w, stride, pads)
        : ([x, w]) => tf.depthwiseConv2d(x, w, stride, pads);
    case "attention": {
      const scale = 1 / Math.sqrt(shapes[0][3]);
      return ([q, k, v]) => tf.matMul(tf.softmax(tf.mul(tf.matMul(q, k, false, true), scale)), v);
    }
    case "softmax":
      return ([x]) => tf.softmax(x);
    case "layerNorm":
      return ([x, weight, bias]) => {
        const { mean, variance } = tf.moments(x, [-1], true);
        const normal = tf.mul(
          tf.sub(x, mean),
          tf.rsqrt(tf.add(variance, 1e-5)),
        );
        return tf.add(tf.mul(normal, weight), bias);
      };
    case "elementwise":
      return ([x]) => tf.add(tf.mul(x, x), x);
  }
}

/** Inputs of a convolution in the library's layout, others as they are. */
function inputsOf(tf: TensorFlow, work: PeerCase): TfTensor[] {
  return operands(work).map(({ data, shape }, i) => {
    if (work.kind !== "conv2d") return tf.tensor(data, shape);
    // A depthwise kernel [C, 1, kh, kw] becomes [kh, kw, C, 1].
    const order = i === 0 ? CHANNELS_LAST : work.groups > 1 ? [2, 3, 0, 1] : KERNEL_FIRST;
    const moved = permuted(data, shape, order);
    return tf.tensor(moved.data, moved.shape);
  });
}

async function open(): Promise<Library> {
  const [core, backend] = [
    "@tensorflow/tfjs-core",
    "@tensorflow/tfjs-backend-webgpu",
  ];
  const tf = await import(core) as TensorFlow;
  await import(backend);
  if (!await tf.setBackend("webgpu")) {
    throw new Error("its WebGPU backend does not start");
  }
  // Without it, commands wait in an open encoder until some fifteen have come together.
  tf.env().set("WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE", 1);
  const { queue } = tf.backend().device;
  const prepare = (work: PeerCase): Prepared | undefined => {
    if (
      work.kind === "conv2d" && work.groups > 1 &&
      work.groups !== work.shapes[0][1]
    ) {
      return undefined;
    }
    const inputs = inputsOf(tf, work);
    const compute = computeOf(tf, work);
    let last: TfTensor | undefined;
    return {
      run() {
        last?.dispose();
        last = tf.tidy(() => compute(inputs));
      },
      settle: () => queue.onSubmittedWorkDone().then(() => {}),
      async result() {
        const data = await last!.data();
        if (work.kind !== "conv2d") return data;
        return permuted(
          data.subarray(0, numel(last!.shape)),
          last!.shape,
          CHANNELS_FIRST,
        ).data;
      },
      free: () => [last, ...inputs].forEach((t) => t?.dispose()),
    };
  };
  return { name: `TensorFlow.js WebGPU ${tf.version_core}`, prepare };
}

if (import.meta.main) await serve(open);

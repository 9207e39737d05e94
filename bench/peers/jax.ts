/** jax-js on its WebGPU backend. Its operations consume their operands; `ref` keeps one. */
import { operands, permuted } from "./layout.ts";
import type { PeerCase } from "./protocol.ts";
import { type Library, type Prepared, serve } from "./worker.ts";

/** An array of the library. */
interface JaxArray {
  readonly ref: JaxArray;
  readonly shape: readonly number[];
  mul(other: JaxArray): JaxArray;
  add(other: JaxArray): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
}

type Compute = (...inputs: JaxArray[]) => JaxArray;
type Pads = readonly (readonly [number, number])[];

/** The parts of the library that are used here. */
interface Jax {
  init(): Promise<readonly string[]>;
  defaultDevice(name: string): void;
  jit(f: Compute): Compute;
  blockUntilReady(arrays: readonly JaxArray[]): Promise<unknown>;
  readonly numpy: {
    array(data: Float32Array, options: { shape: readonly number[] }): JaxArray;
    matmul: Compute;
  };
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    standardize(x: JaxArray, axis: number): JaxArray;
    dotProductAttention: Compute;
  };
  readonly lax: {
    convGeneralDilated(
      x: JaxArray,
      w: JaxArray,
      strides: readonly number[],
      padding: Pads,
      options: { featureGroupCount: number },
    ): JaxArray;
  };
}

/** [B, H, N, D] to the library's [B, N, H, D] and back. */
const HEADS = [0, 2, 1, 3];

function computeOf({ numpy, nn, lax }: Jax, work: PeerCase): Compute {
  const { kind, stride, padding, groups } = work;
  switch (kind) {
    case "matmul":
      return (a, b) => numpy.matmul(a, b);
    case "conv2d": {
      const pads: Pads = [[padding, padding], [padding, padding]];
      const options = { featureGroupCount: groups };
      return (x, w) => lax.convGeneralDilated(x, w, [stride, stride], pads, options);
    }
    case "attention":
      return (q, k, v) => nn.dotProductAttention(q, k, v);
    case "softmax":
      return (x) => nn.softmax(x, -1);
    case "layerNorm":
      return (x, weight, bias) => nn.standardize(x, -1).mul(weight).add(bias);
    case "elementwise":
      return (x) => x.ref.mul(x.ref).add(x);
  }
}

/** Results that may be in memory at once. */
const MOST_PENDING = 64;

async function open(): Promise<Library> {
  const name = "@jax-js/jax";
  const jax = await import(name) as Jax;
  if (!(await jax.init()).includes("webgpu")) {
    throw new Error("its WebGPU backend does not start");
  }
  jax.defaultDevice("webgpu");
  const prepare = (work: PeerCase): Prepared => {
    const heads = work.kind === "attention";
    const inputs = operands(work).map((own) => {
      const { data, shape } = heads ? permuted(own.data, own.shape, HEADS) : own;
      return jax.numpy.array(data, { shape });
    });
    const compute = jax.jit(computeOf(jax, work));
    // Work is lazy: a result that is disposed of before it is waited for is never computed.
    const pending: JaxArray[] = [];
    const settle = async () => {
      await jax.blockUntilReady(pending);
      for (const old of pending.splice(0, pending.length - 1)) old.dispose();
    };
    return {
      async run() {
        pending.push(compute(...inputs.map((x) => x.ref)));
        if (pending.length > MOST_PENDING) await settle();
      },
      settle,
      async result() {
        const [last] = pending;
        const data = await last.ref.data();
        return heads ? permuted(data, last.shape, HEADS).data : data;
      },
      free: () => [...pending, ...inputs].forEach((x) => x.dispose()),
    };
  };
  return { name: "jax-js", prepare };
}

if (import.meta.main) await serve(open);

/** Parts of SAM-2 as work for peers: the same weights and inputs, forward and with all gradients. */
import {
  add,
  constant,
  gradients,
  mean,
  mul,
  readAll,
  runtime,
  sigmoid,
  square,
  type Storage,
  submit,
  type Tensor,
  zeros,
} from "../engine/mod.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { submitted, type Timed } from "./clock.ts";
import { takeInventory } from "./inventory.ts";
import { CONFIGURATIONS } from "./parts.ts";
import { numel } from "./peers/layout.ts";
import { digest, type PeerModel, values } from "./peers/protocol.ts";

/** Parts of the model that peers have. */
export const PEER_PARTS = [
  "encoder",
  "mask decoder",
  "memory attention",
  "memory encoder",
] as const;

/** What is timed of a part. */
export const PASSES = ["forward", "forward+backward"] as const satisfies PeerModel["pass"][];

/** One of {@link PEER_PARTS}. */
export type PeerPart = typeof PEER_PARTS[number];

/** A part on this engine, and what a peer needs to do the same. */
export interface ModelCase {
  readonly name: string;
  readonly shape: string;
  /** Floating-point operations. */
  readonly flops: number;
  readonly work: PeerModel;
  readonly engine: Timed;
  /** What the peers' results are compared with. */
  readonly digest: readonly number[];
  readonly free: () => Promise<void>;
}

interface Parts {
  readonly shapes: readonly (readonly number[])[];
  build(inputs: readonly Tensor[]): readonly Tensor[];
}

/** Tokens of a click: its place, and one that ends the prompt. */
const CLICK_TOKENS = 2;

/** The parts that peers have. Memories are as many as a frame has at most; pointers are left out. */
function partsOf(model: Sam2, batch: number): Record<PeerPart, Parts> {
  const { imageSize, dModel, memDim, numMaskmem } = model.config;
  const side = imageSize / 16;
  const tokens = side ** 2;
  const embedding = [batch, dModel, side, side];
  const masks = [batch, 1, imageSize, imageSize];
  const memories = [batch, numMaskmem * tokens, memDim];
  return {
    "encoder": {
      shapes: [[batch, 3, imageSize, imageSize]],
      build: ([images]) => model.forwardImage(images).levels,
    },
    "mask decoder": {
      shapes: [
        embedding,
        [1, ...embedding.slice(1)],
        [batch, CLICK_TOKENS, dModel],
        [batch, dModel / 8, 4 * side, 4 * side],
        [batch, dModel / 4, 2 * side, 2 * side],
      ],
      build: ([imageEmbeddings, imagePositions, sparse, fine, middle]) => {
        const dense = zeros(embedding);
        const highRes = [fine, middle];
        const inputs = { imageEmbeddings, imagePositions, sparse, dense, highRes };
        const found = model.sam_mask_decoder.predictMasks(inputs);
        return [found.masks, found.ious, found.objectScoreLogits];
      },
    },
    "memory attention": {
      shapes: [[batch, tokens, dModel], [1, tokens, dModel], memories, memories],
      build: ([features, place, memory, positions]) => [
        model.memory_attention.forward(features, place, { memory, positions, pointerTokens: 0 }),
      ],
    },
    "memory encoder": {
      shapes: [embedding, masks],
      build: ([features, logits]) => {
        const { sigmoidScaleForMemEnc: scale, sigmoidBiasForMemEnc: bias } = model.config;
        const values = add(mul(sigmoid(logits), scale), bias);
        return [model.memory_encoder.forward(features, values, { skipMaskSigmoid: true }).features];
      },
    },
  };
}

/** Writes the parameters one after the other. */
async function writeWeights(flat: FlatParameters): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".f32" });
  const dict = await flat.stateDict();
  using file = await Deno.open(path, { write: true });
  const writer = file.writable.getWriter();
  for (const { data } of dict.values()) {
    await writer.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  await writer.close();
  return path;
}

/** Everything after another in one array. */
function joined(arrays: readonly ArrayLike<number>[]): Float32Array {
  const all = new Float32Array(arrays.reduce((n, a) => n + a.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}

/** Prepares a part in both passes. */
export async function modelCases(
  config: string,
  imageSize: number,
  part: PeerPart,
  chosen: readonly PeerModel["pass"][],
): Promise<ModelCase[]> {
  const rt = await runtime();
  const model = new Sam2({ ...CONFIGURATIONS[config], imageSize });
  const { shapes, build } = partsOf(model, 1)[part];
  const inputs = shapes.map((shape, i) => constant(values(i + 1, numel(shape)), shape));
  const forward = () => build(inputs);
  const loss = () => forward().map((x) => mean(square(x))).reduce(add);
  const { leaves } = canonicalise(forward());
  const named = model.namedParameters().filter(([, p]) => leaves.includes(p));
  const flat = await FlatParameters.create(named);
  const weights = await writeWeights(flat);
  const keys = flat.segments.map(({ key, parameter: { shape } }) => ({ key, shape }));
  const own: GPUBuffer[] = [];
  const outputs = forward().map((x): Storage => {
    own.push(rt.createBuffer(4 * x.size));
    return { buffer: own[own.length - 1], offset: 0 };
  });
  const passes = {
    "forward": {
      read: forward,
      write: () => forward().map((x, i) => [x, outputs[i]] as const),
    },
    "forward+backward": {
      read: () => gradients(loss(), flat.trainable).map((g) => g!),
      write: () => flat.gradientTargets(gradients(loss(), flat.trainable)),
    },
  };
  const profile = await activeProfile();
  const cases: ModelCase[] = [];
  for (const pass of chosen) {
    const { read, write } = passes[pass];
    const workload = { name: part, forward: read(), backward: [] };
    cases.push({
      name: `${config} ${part} ${imageSize} px`,
      shape: shapes.map((shape) => `[${shape}]`).join(" "),
      flops: takeInventory(workload, profile, rt.device.offsetAlignment).flops,
      work: {
        part,
        pass,
        shapes,
        config: CONFIGURATIONS[config],
        weights,
        keys,
      },
      engine: submitted(() => submit({ write: write() })),
      digest: digest(joined(await readAll(read()) as Float32Array[])),
      free: async () => {
        if (pass !== chosen.at(-1)) return;
        flat.destroy();
        own.forEach((buffer) => rt.destroyBuffer(buffer));
        await Deno.remove(weights);
      },
    });
  }
  return cases;
}

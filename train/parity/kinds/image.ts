/** Modules that work on one image: encoder, prompt encoder, mask decoder, memory, heads. */
import { add, flatten, mul, permute, sigmoid, slice, type Tensor } from "../../../engine/mod.ts";
import { MASK_DECODER, type MaskDecoderConfig, type Sam2Config } from "../../../model/config.ts";
import {
  MaskDecoder,
  type MaskDecoderInputs,
  type MaskDecoderOutput,
} from "../../../model/sam2/mask_decoder.ts";
import { expandFeatures } from "../../../model/sam2/sam2.ts";
import type { SamHeadsOutput } from "../../../model/sam2/sam2_image.ts";
import { type Trace, under } from "../../../model/sam2/trace.ts";
import type { Comparison } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { compareOutputs } from "../kind.ts";
import { bindRecipe, type BoundModel, type Outputs, readOutputs, withModel } from "../model.ts";
import { inputTensor, pointPrompt, videoFrames } from "../prompts.ts";

type Build = (fixture: Fixture, bound: BoundModel, trace: Trace) => void;

/** A runner that builds a graph with the fixture's model, then evaluates what the manifest declares. */
function modelRunner(build: Build): (fixture: Fixture) => Promise<Comparison[]> {
  return (fixture) =>
    withModel(fixture, async (bound) => {
      const outputs: Outputs = new Map();
      build(fixture, bound, (name, value) => outputs.set(name, value));
      return compareOutputs(fixture, await readOutputs(fixture, outputs));
    });
}

/** Fixtures of kind `encoder`. */
export const runEncoder = modelRunner((fixture, { model }, trace) => {
  model.forwardImage(inputTensor(fixture, "image"), trace);
});

/** Fixtures of kind `prompt_encoder`. */
export const runPromptEncoder = modelRunner((fixture, { model }, trace) => {
  const points = pointPrompt(fixture, "points", "labels");
  const cornerPoints = pointPrompt(fixture, "points", "labels_box_as_points");
  const boxes = inputTensor(fixture, "boxes");
  const masks = inputTensor(fixture, "mask");
  const cases = {
    points: { points },
    points_box_labels: { points: cornerPoints },
    boxes: { boxes },
    points_boxes: { points, boxes },
    mask: { masks },
    points_mask: { points, masks },
    boxes_mask: { boxes, masks },
    none: {},
  };
  for (const [name, prompts] of Object.entries(cases)) {
    const { sparse, dense } = model.sam_prompt_encoder.forward(prompts);
    trace(`${name}.sparse`, sparse);
    trace(`${name}.dense`, dense);
  }
  trace("dense_pe", model.sam_prompt_encoder.densePositions());
});

function traceMasks(trace: Trace, name: string, output: MaskDecoderOutput): void {
  trace(`${name}.masks`, output.masks);
  trace(`${name}.ious`, output.ious);
  trace(`${name}.tokens`, output.tokens);
  trace(`${name}.obj`, output.objectScoreLogits);
}

/** [B, C, H, W] to [B, H * W, C]. */
const toTokens = (map: Tensor) => permute(flatten(map, 2), [0, 2, 1]);

/** Deltas of the outputs `dynamic_<delta>.*`, as written in their names. */
function stabilityDeltas(fixture: Fixture): string[] {
  const names = Object.keys(fixture.manifest.outputs ?? {});
  return [...new Set(names.flatMap((name) => name.match(/^dynamic_([\d.]+)\.[a-z]/)?.[1] ?? []))];
}

function withStability(delta: number, thresh: number): (config: Sam2Config) => Sam2Config {
  return (config) => ({
    ...config,
    maskDecoder: {
      ...config.maskDecoder,
      dynamicMultimaskViaStability: true,
      dynamicMultimaskStabilityDelta: delta,
      dynamicMultimaskStabilityThresh: thresh,
    },
  });
}

const runFullMaskDecoder = modelRunner((fixture, { model, reconfigured }, trace) => {
  const decoder = model.sam_mask_decoder;
  const inputs: MaskDecoderInputs = {
    imageEmbeddings: inputTensor(fixture, "image_embeddings"),
    imagePositions: model.sam_prompt_encoder.densePositions(),
    sparse: inputTensor(fixture, "sparse"),
    dense: inputTensor(fixture, "dense"),
    highRes: [inputTensor(fixture, "feat_s0"), inputTensor(fixture, "feat_s1")],
  };
  traceMasks(trace, "multi", decoder.forward(inputs, true));
  traceMasks(trace, "single", decoder.forward(inputs, false));
  const one = (x: Tensor) => slice(x, 0, 0, 1);
  const repeated = {
    ...inputs,
    imageEmbeddings: one(inputs.imageEmbeddings),
    highRes: inputs.highRes?.map(one),
  };
  traceMasks(trace, "repeat", decoder.forward(repeated, true));
  const all = decoder.predictMasks(inputs);
  traceMasks(trace, "predict_masks", all);
  trace("predict_masks.mask_tokens", all.tokens);
  const { queries, keys } = decoder.transformer.forward(
    toTokens(add(inputs.imageEmbeddings, inputs.dense)),
    toTokens(inputs.imagePositions),
    inputs.sparse,
  );
  trace("transformer.queries", queries);
  trace("transformer.keys", keys);
  for (const delta of stabilityDeltas(fixture)) {
    const stable = reconfigured(withStability(Number(delta), 0.98)).sam_mask_decoder;
    traceMasks(trace, `dynamic_${delta}`, stable.forward(inputs, false));
    trace(`dynamic_${delta}.stability`, stable.stabilityScores(slice(all.masks, 1, 0, 1)));
  }
  const mixed = fixture.manifest.dynamic_mixed as { delta: number; thresh: number } | undefined;
  if (mixed) {
    const stable = reconfigured(withStability(mixed.delta, mixed.thresh)).sam_mask_decoder;
    traceMasks(trace, "dynamic_mixed", stable.forward(inputs, false));
  }
});

/** The small decoder of `mask_decoder_plain`, without object score and high-resolution maps. */
const PLAIN_DECODER: MaskDecoderConfig = {
  ...MASK_DECODER,
  transformerDepth: 2,
  transformerMlpDim: 48,
  transformerHeads: 4,
  iouHeadHiddenDim: 24,
  iouPredictionUseSigmoid: false,
  useHighResFeatures: false,
  predObjScores: false,
  predObjScoresMlp: false,
  useMultimaskTokenForObjPtr: false,
};

async function runPlainMaskDecoder(fixture: Fixture): Promise<Comparison[]> {
  const [embeddings, positions, sparse, dense] = ["image_embeddings", "image_pe", "sparse", "dense"]
    .map((name) => inputTensor(fixture, name));
  const decoder = new MaskDecoder(embeddings.shape[1], PLAIN_DECODER);
  const flat = await bindRecipe(fixture, decoder, "plain_decoder.");
  try {
    const outputs: Outputs = new Map();
    const inputs = { imageEmbeddings: embeddings, imagePositions: positions, sparse, dense };
    for (const multimask of [true, false]) {
      const trace: Trace = (name, value) => outputs.set(name, value);
      traceMasks(trace, `multimask_${multimask}`, decoder.forward(inputs, multimask));
    }
    return compareOutputs(fixture, await readOutputs(fixture, outputs));
  } finally {
    flat.destroy();
  }
}

/** Fixtures of kind `mask_decoder`, the plain one included. */
export function runMaskDecoder(fixture: Fixture): Promise<Comparison[]> {
  const plain = fixture.manifest.weights?.config === "plain_decoder";
  return plain ? runPlainMaskDecoder(fixture) : runFullMaskDecoder(fixture);
}

/** [N, B, C] to [B, N, C] and back. */
const swapFirst = (x: Tensor) => permute(x, [1, 0, 2]);

/** Fixtures of kind `memory_attention`: the stack, and the attentions of layer 0 on the raw inputs. */
export const runMemoryAttention = modelRunner((fixture, { model }, trace) => {
  const [current, place, memory, positions] = ["curr", "curr_pos", "memory", "memory_pos"]
    .map((name) => swapFirst(inputTensor(fixture, name)));
  const pointerTokens = fixture.manifest.num_obj_ptr_tokens as number;
  const grid = fixture.manifest.grid as [number, number];
  const attention = model.memory_attention;
  const tokens = { memory, positions, pointerTokens };
  trace("out", swapFirst(attention.forward(current, place, tokens, { grid, trace })));
  const { self_attn, cross_attn_image } = attention.layers[0];
  const rotary = (excludedKeys: number) => ({
    rotary: { tables: attention.rotaryTables(...grid), excludedKeys },
  });
  trace("layer0.self_attn", self_attn.forward(current, current, current, rotary(0)));
  const keys = add(memory, positions);
  trace(
    "layer0.cross_attn",
    cross_attn_image.forward(current, keys, memory, rotary(pointerTokens)),
  );
});

/** Fixtures of kind `memory_encoder`. */
export const runMemoryEncoder = modelRunner((fixture, { model }, trace) => {
  const features = inputTensor(fixture, "pix_feat");
  const logits = inputTensor(fixture, "masks");
  const { sigmoidScaleForMemEnc: scale, sigmoidBiasForMemEnc: bias } = model.config;
  const probabilities = add(mul(sigmoid(logits), scale), bias);
  const fromLogits = under(trace, "logit")!;
  const fromProbabilities = under(trace, "prob")!;
  const encoder = model.memory_encoder;
  const first = encoder.forward(features, logits, { trace: fromLogits });
  const second = encoder.forward(features, probabilities, {
    skipMaskSigmoid: true,
    trace: fromProbabilities,
  });
  fromLogits("features", first.features);
  fromProbabilities("features", second.features);
  trace("pos", first.positions);
});

function traceHeads(trace: Trace, name: string, output: SamHeadsOutput): void {
  trace(`${name}.low_res_multimasks`, output.lowResMultimasks);
  trace(`${name}.high_res_multimasks`, output.highResMultimasks);
  trace(`${name}.ious`, output.ious);
  trace(`${name}.low_res_masks`, output.lowResMasks);
  trace(`${name}.high_res_masks`, output.highResMasks);
  trace(`${name}.obj_ptr`, output.objPtr);
  trace(`${name}.object_score_logits`, output.objectScoreLogits);
}

/** Fixtures of kind `e2e`. */
export const runEndToEnd = modelRunner((fixture, { model }, trace) => {
  const points = pointPrompt(fixture, "point_coords", "point_labels");
  const masks = inputTensor(fixture, "mask_input");
  const batch = points.coords.shape[0];
  const [frame] = videoFrames(fixture);
  const features = expandFeatures(model.forwardImage(frame), batch);
  const embedding = model.withoutMemory(features);
  const highRes = features.levels.slice(0, -1);
  for (const multimask of [true, false]) {
    const output = model.forwardSamHeads(embedding, highRes, { points }, { multimask });
    traceHeads(trace, `multimask_${multimask}`, output);
  }
  traceHeads(trace, "mask_as_output", model.useMaskAsOutput(embedding, highRes, masks));
  traceHeads(
    trace,
    "mask_prompt_antialias",
    model.forwardSamHeads(embedding, highRes, { points, masks }),
  );
});

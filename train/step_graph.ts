/** The graph of one training step: labelled and unlabelled images, student and teacher, all losses. */
import {
  add,
  amax,
  arange,
  autocast,
  cast,
  cat,
  constant,
  cumsum,
  detach,
  eq,
  expand,
  flatten,
  indexSelect,
  le,
  matmul,
  minimum,
  mul,
  narrow,
  permute,
  reshape,
  rsqrt,
  select,
  softmax,
  square,
  stack,
  sub,
  sum,
  type Tensor,
  unsqueeze,
  where,
} from "../engine/mod.ts";
import { Training } from "../engine/nn/mod.ts";
import type { SssConfig } from "../model/sss/config.ts";
import type { ClassMasks, DrawnMemories, SssModel } from "../model/sss/sss_model.ts";
import type { PyramidFeatures } from "../model/sam2/fpn_neck.ts";
import { affineSample } from "./augment/affine.ts";
import { boxMask, cutMix } from "./augment/cutmix.ts";
import { photometric } from "./augment/photometric.ts";
import {
  enlarge,
  overlapLoss,
  presenceLoss,
  pseudoLabels,
  supervisedLoss,
  unlabelledLoss,
} from "./objective.ts";
import {
  jitterBoxes,
  maskBoxes,
  type ObjectPrompts,
  promptTokens,
  randomPoints,
} from "./prompting.ts";
import { modelInput } from "./model_input.ts";
import type { LabelledInputs, UnlabelledInputs } from "./step_inputs.ts";

/** Banks as leaves of fixed shape. */
export interface BankLeaves {
  /** [C, size, memDim, tokens] */
  readonly memories: Tensor;
  /** Unit vectors [C, size, dModel tokens]. */
  readonly embeddings: Tensor;
  /** [C, size] */
  readonly filled: Tensor;
}

/** What a step computes. */
export interface StepGraph {
  readonly loss: Tensor;
  readonly terms: Readonly<Record<string, Tensor>>;
  /** For the memory banks: maps [B C, memDim, h, w], embeddings [B, dModel h w], overlaps [B, C]. */
  readonly memories: Tensor;
  readonly embeddings: Tensor;
  readonly ious: Tensor;
  readonly training: Training;
}

/** What a step is built from. */
export interface StepParts {
  readonly student: SssModel;
  readonly teacher: SssModel;
  readonly config: SssConfig;
  readonly method: "sss" | "supervised" | "fixmatch";
  readonly labelled: LabelledInputs;
  /** Missing in supervised training and before the teacher has warmed up. */
  readonly unlabelled?: UnlabelledInputs | undefined;
  /** Missing while the banks are empty. */
  readonly banks?: BankLeaves | undefined;
  /** Weight of the unlabelled loss, a scalar leaf. */
  readonly lambda: Tensor;
}

/** Memories of every object, drawn with replacement by similarity to its image. */
function drawMemories(embedding: Tensor, banks: BankLeaves, units: Tensor): DrawnMemories {
  const [batch] = embedding.shape;
  const [classes, size, memDim, tokens] = banks.memories.shape;
  const draws = units.shape[1];
  const unit = mul(embedding, rsqrt(add(sum(square(embedding), 1, true), 1e-12)));
  const chances = reshape(units, [batch, classes, 1, draws]);
  const perClass: Tensor[] = [];
  for (let c = 0; c < classes; c++) {
    const others = select(banks.embeddings, 0, c);
    const cosines = autocast("f32", () => matmul(unit, others, { transB: true }));
    const filled = unsqueeze(select(banks.filled, 0, c), 0);
    const probability = softmax(where(filled, cosines, -1e9), 1);
    const below = le(unsqueeze(cumsum(probability, 1), 2), select(chances, 1, c));
    const last = reshape(sub(sum(filled), 1), [1, 1]);
    const index = cast(minimum(sum(below, 1), last), "u32");
    const rows = reshape(select(banks.memories, 0, c), [size, memDim * tokens]);
    const drawn = indexSelect(rows, 0, reshape(index, [-1]));
    perClass.push(permute(reshape(drawn, [batch, draws, memDim, tokens]), [0, 1, 3, 2]));
  }
  const all = reshape(stack(perClass, 1), [batch * classes, draws * tokens, memDim]);
  return { tokens: detach(all), count: draws };
}

const detached = ({ levels, positions }: PyramidFeatures): PyramidFeatures => ({
  levels: levels.map(detach),
  positions,
});

function joined(parts: readonly PyramidFeatures[]): PyramidFeatures {
  const levels = parts[0].levels.map((_, i) => cat(parts.map((p) => p.levels[i]), 0));
  return { levels, positions: parts[0].positions };
}

/** The labelled view: images, class numbers and prompts made from them. */
function labelledView(inputs: LabelledInputs, classes: number, training: Training) {
  const images = affineSample(inputs.images, inputs.affines, "bilinear");
  const labels = affineSample(inputs.labels, inputs.affines, "nearest");
  const size = images.shape[2];
  const numbers = cast(add(arange(classes, [1, classes, 1, 1]), 1), "f32");
  const truth = eq(labels, numbers);
  const present = amax(truth, [2, 3]);
  const flag = (i: number) => mul(select(inputs.prompted, 1, i), reshape(present, [-1]));
  const points = promptTokens({
    boxes: jitterBoxes(maskBoxes(truth), inputs.boxShares, size),
    boxOn: flag(0),
    points: randomPoints(truth, training.nextKey()),
    pointOn: flag(1),
  });
  const target = cast(flatten(labels, 0, 1), "u32");
  return { images: modelInput(images), target, truth, present, points };
}

/** The unlabelled views: one weak, two strong. */
function unlabelledViews(inputs: UnlabelledInputs) {
  const weak = affineSample(inputs.images, inputs.affines, "bilinear");
  const size = weak.shape[2];
  const strong = inputs.photometric.map((amounts, v) => {
    const mask = boxMask(inputs.boxes[v], size);
    return { image: modelInput(cutMix(photometric(weak, amounts), mask)), mask };
  });
  return { weak: modelInput(weak), strong };
}

/** PCSW's prompts in the weak view; without PCSW there are none. */
function pseudoPrompts(
  inputs: UnlabelledInputs,
  classes: number,
): { prompts: ObjectPrompts; weight?: Tensor } {
  const batch = inputs.images.shape[0];
  if (!inputs.pseudo) {
    const none = constant(new Float32Array(batch * classes));
    const boxes = constant(new Float32Array(batch * classes * 4), [batch * classes, 4]);
    return { prompts: { boxes, boxOn: none, points: narrow(boxes, 1, 0, 2), pointOn: none } };
  }
  const { weight, kept, points, prompted } = inputs.pseudo;
  const seen = affineSample(kept, inputs.affines, "nearest");
  const boxOn = mul(prompted, reshape(amax(seen, [2, 3]), [-1]));
  return {
    weight: affineSample(weight, inputs.affines, "nearest"),
    prompts: { boxes: maskBoxes(seen), boxOn, points, pointOn: boxOn },
  };
}

/**
 * Builds the whole step. Labelled images and each strong view pass the model by themselves, not as one
 * batch: passes of one shape share their kernels, and a CPU adapter keeps only so many compiled.
 */
export function stepGraph(parts: StepParts): StepGraph {
  const { student, config, labelled, banks } = parts;
  const { refine } = config;
  const { classes } = student;
  const training = new Training(labelled.key);
  const view = labelledView(labelled, classes, training);
  const batch = view.images.shape[0];
  const size = view.images.shape[2];
  const views = parts.unlabelled && unlabelledViews(parts.unlabelled);
  const own = student.encode(view.images);
  const strong = (views?.strong ?? []).map(({ image }) => student.encode(image)).map((features) =>
    config.unlabelledGrad === "figure" ? detached(features) : features
  );
  const coarse = student.coarse(joined([own, ...strong]), config, training);
  const count = parts.unlabelled?.images.shape[0] ?? 0;
  const coarseOf = (pass: number) =>
    pass === 0 ? narrow(coarse, 0, 0, batch) : narrow(coarse, 0, batch + (pass - 1) * count, count);
  const coarsest = own.levels[own.levels.length - 1];
  const embedding = cast(flatten(coarsest, 1), "f32");
  const memories = banks && drawMemories(detach(embedding), banks, labelled.units);
  const masks = config.maskPrompt ? student.maskPrompts(coarseOf(0)) : undefined;
  const embedded = student.embed(own, memories, training);
  const masksOwn = student.decode(own, embedded, { points: view.points, masks, refine }, training);
  const logits = student.classLogits(masksOwn);
  const terms: Record<string, Tensor> = {
    labelled: supervisedLoss(logits, view.target, config.labelLoss),
    presence: mul(presenceLoss(masksOwn, view.present), config.objectLossWeight),
    overlap: overlapLoss(narrow(logits, 1, 1, classes), masksOwn, view.truth, view.present),
    coarse: supervisedLoss(enlarge(coarseOf(0), size), view.target, config.labelLoss),
  };
  let loss = add(add(terms.labelled, terms.presence), add(terms.overlap, terms.coarse));
  if (views && parts.unlabelled) {
    const coarseStrong = strong.map((_, v) => coarseOf(v + 1));
    const passes = { views, strong, coarse: coarseStrong };
    terms.unlabelled = unlabelledTerm(parts, parts.unlabelled, passes, training);
    loss = add(loss, mul(parts.lambda, terms.unlabelled));
  }
  return {
    loss,
    terms,
    memories: student.remember(detached(own), detachedMasks(masksOwn)),
    embeddings: embedding,
    ious: masksOwn.ious,
    training,
  };
}

const detachedMasks = (m: ClassMasks): ClassMasks => ({
  logits: detach(m.logits),
  objectScores: detach(m.objectScores),
  ious: detach(m.ious),
});

/** The strong views of a step, as the student sees them. */
interface StrongPasses {
  readonly views: ReturnType<typeof unlabelledViews>;
  readonly strong: readonly PyramidFeatures[];
  /** Coarse logits of both, [B, 1 + C, R / 4, R / 4]. */
  readonly coarse: readonly Tensor[];
}

/** Teacher targets, and how far both strong views of the student are from them. */
function unlabelledTerm(
  { student, teacher, config, method }: StepParts,
  inputs: UnlabelledInputs,
  { views, strong, coarse }: StrongPasses,
  training: Training,
): Tensor {
  const { classes } = student;
  const { prompts, weight } = pseudoPrompts(inputs, classes);
  const weak = detached(teacher.encode(views.weak));
  const enhance = method === "sss";
  const taught = enhance
    ? teacher.enhance(weak, detached(strong[0]), config, views.strong[0].mask)
    : weak;
  const maskPrompts = (logits: Tensor) =>
    config.maskPrompt ? student.maskPrompts(logits) : undefined;
  const seen = teacher.decode(taught, teacher.embed(taught), {
    points: promptTokens(prompts),
    masks: maskPrompts(teacher.coarse(weak, config)),
    refine: config.refine,
  });
  const pseudo = pseudoLabels(teacher.classLogits(seen), weight, config.conf);
  const partner = (v: number) => config.pair === "strong-strong" ? strong[1 - v] : weak;
  const losses = strong.map((own, v) => {
    const { mask } = views.strong[v];
    const features = enhance ? student.enhance(own, partner(v), config, mask) : own;
    const points = promptTokens(strongPrompts(prompts, mask, classes));
    const given = { points, masks: maskPrompts(coarse[v]), refine: config.refine };
    const masks = student.decode(features, student.embed(features), given, training);
    const target = { target: cutMix(pseudo.target, mask), weight: cutMix(pseudo.weight, mask) };
    const fine = unlabelledLoss(student.classLogits(masks), target, config.unlabelledLoss);
    if (config.unlabelledGrad === "figure") return fine;
    const enlarged = enlarge(coarse[v], views.weak.shape[2]);
    return add(fine, unlabelledLoss(enlarged, target, config.unlabelledLoss));
  });
  return mul(losses.reduce(add), 1 / losses.length);
}

/** The weak prompts for a strong view; an image with a pasted box gets none. */
function strongPrompts(prompts: ObjectPrompts, mask: Tensor, classes: number): ObjectPrompts {
  const whole = sub(1, amax(mask, [1, 2, 3]));
  const gate = reshape(expand(unsqueeze(whole, 1), [-1, classes]), [-1]);
  return { ...prompts, boxOn: mul(prompts.boxOn, gate), pointOn: mul(prompts.pointOn, gate) };
}

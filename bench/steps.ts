/** Training steps as graphs: what `Trainer` computes in a step, so that its parts can be measured. */
import { gradients, scalar, type Tensor, tensor } from "../engine/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { sssConfig } from "../model/sss/config.ts";
import { SssModel } from "../model/sss/sss_model.ts";
import { type BankLeaves, type StepGraph, stepGraph } from "../train/step_graph.ts";
import { labelledInputs, unlabelledInputs } from "../train/step_inputs.ts";
import type { Method } from "../train/trainer.ts";
import type { Workload } from "./inventory.ts";
import { noise } from "./replay.ts";

/** What a step is made of. */
export interface StepOptions {
  readonly method: Method;
  /** Side of the images in pixels. */
  readonly size: number;
  /** Labelled images. */
  readonly batch: number;
  /** Unlabelled images, where the method uses them. */
  readonly unlabelledBatch: number;
  readonly classes: number;
}

/** As many as the trainer draws. */
const DRAWS = 4;

/** The student and its teacher, `nano`, without memory or values yet. */
export function stepModels({ size, classes }: StepOptions): [student: SssModel, teacher: SssModel] {
  const config = { ...CONFIGS.nano, imageSize: size };
  return [new SssModel(config, classes), new SssModel(config, classes)];
}

/** A square in the middle of each class's own quarter. */
function labelPlane(size: number, classes: number): Uint8Array {
  return Uint8Array.from({ length: size * size }, (_, i) => {
    const [x, y] = [i % size, Math.floor(i / size)].map((v) => Math.floor(4 * v / size));
    const inside = x > 0 && x < 3 && y > 0 && y < 3;
    return inside ? 1 + (2 * (y - 1) + x - 1) % classes : 0;
  });
}

/** Full banks of random memories. */
function banks({ config }: SssModel, classes: number): BankLeaves {
  const tokens = (config.imageSize / 16) ** 2;
  const size = sssConfig().memoryBankSize;
  const leaf = (...shape: number[]) => tensor(noise(shape.reduce((a, b) => a * b, 1)), shape);
  return {
    memories: leaf(classes, size, config.memDim, tokens),
    embeddings: leaf(classes, size, config.dModel * tokens),
    filled: tensor(new Float32Array(classes * size).fill(1), [classes, size]),
  };
}

/** The graph of step `step`, with memories and, where the method asks for them, PCSW's prompts. */
export function buildStep(
  [student, teacher]: readonly [SssModel, SssModel],
  { method, size, batch, unlabelledBatch, classes }: StepOptions,
  step: number,
): StepGraph {
  const config = sssConfig();
  const sizes = { size, classes, draws: DRAWS, boxJitter: config.boxJitter };
  const plane = () => noise(size * size).map((v) => v + 0.5);
  const images = Array.from({ length: batch }, plane);
  const labels = images.map(() => labelPlane(size, classes));
  const others = Array.from({ length: unlabelledBatch }, plane);
  const verdicts = others.map(() => ({
    weight: new Uint8Array(classes * size * size).fill(1),
    kept: new Uint8Array(classes * size * size).fill(1),
    points: Array.from({ length: classes }, () => [size / 2, size / 2] as const),
  }));
  const pseudo = method === "sss" ? verdicts : undefined;
  return stepGraph({
    student,
    teacher,
    config,
    method,
    labelled: labelledInputs({ images, labels }, sizes, 0, step),
    unlabelled: method === "supervised"
      ? undefined
      : unlabelledInputs(others, pseudo, sizes, 0, step),
    banks: banks(student, classes),
    lambda: scalar(1),
  });
}

/** What a step reads back after its forward pass. */
export function stepResults(graph: StepGraph): Tensor[] {
  return [
    graph.loss,
    ...Object.values(graph.terms),
    graph.memories,
    graph.embeddings,
    graph.ious,
  ];
}

/** A whole step but the optimiser. */
export function stepWorkload(options: StepOptions): Workload {
  const models = stepModels(options);
  const graph = buildStep(models, options, 0);
  const parameters = models[0].namedParameters().map(([, p]) => p).filter((p) => p.trainable);
  const reached = gradients(graph.loss, parameters).filter((g) => g !== undefined);
  return {
    name: `nano ${options.method} step ${options.size} px`,
    forward: stepResults(graph),
    backward: [...reached, ...graph.training.updates.values()],
  };
}

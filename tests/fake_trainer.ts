/** A trainer without a network, for tests of the commands. */
import type { DataSet, Volume } from "../train/data/dataset.ts";
import type { Prediction } from "../train/inference.ts";
import type { RunTrainer } from "../train/run/train_run.ts";
import type { SavedTrainer, StepReport, TrainOptions } from "../train/trainer.ts";

/** Its weights depend on the seed and on every step; its predictions on weights and image. */
export class FakeTrainer implements RunTrainer {
  position = 0;
  #weights: Float32Array;

  /** @param stepTime milliseconds for which a step blocks the event loop. */
  constructor(
    readonly options: TrainOptions,
    readonly data: DataSet,
    readonly stepTime = 0,
  ) {
    this.#weights = Float32Array.of(options.seed, 0, 1);
  }

  step(): Promise<StepReport> {
    const start = performance.now();
    while (performance.now() - start < this.stepTime) { /* as waiting for a GPU does */ }
    const step = ++this.position;
    this.#weights = this.#weights.map((w, i) => Math.fround(w * 1.25 + Math.sin(step + i)));
    return Promise.resolve({
      step,
      losses: { total: 1 / step, labelled: 0.5 / step },
      images: this.options.batchLabelled + this.options.batchUnlabelled,
      learningRate: this.options.learningRate,
      milliseconds: { total: 1 + performance.now() - start, host: 1 },
    });
  }

  save(): Promise<SavedTrainer> {
    const data = this.#weights.slice();
    return Promise.resolve({
      tensors: new Map([["weights", { dtype: "F32", shape: [data.length], data }]]),
      state: { position: this.position },
    });
  }

  load({ tensors, state }: SavedTrainer): Promise<void> {
    this.#weights = Float32Array.from(tensors.get("weights")!.data);
    this.position = (state as { position: number }).position;
    return Promise.resolve();
  }

  /** Grey levels by thresholds, of which one moves with the weights; labels when it is given them. */
  predict(volume: Volume, prompts: "pcsw" | "oracle"): Promise<Prediction> {
    const [slices, height, width] = volume.shape;
    const moving = 0.3 + 0.05 * Math.sin(this.#weights[1]);
    const labels = "label" in volume && prompts === "oracle"
      ? (volume.label as Uint8Array).slice()
      : Uint8Array.from(volume.image, (v) => v > 0.8 ? 3 : v > 0.4 ? 1 : v > moving ? 2 : 0);
    const probabilities = new Float32Array(4 * slices * height * width);
    labels.forEach((label, i) => probabilities[label * labels.length + i] = 1);
    return Promise.resolve({ labels, probabilities });
  }
}

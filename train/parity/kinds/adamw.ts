/** Training steps with AdamW. */
import { gradients, submit } from "../../../engine/mod.ts";
import { AdamW } from "../../../engine/optim/adamw.ts";
import { type Comparison, optimizerRule, valuesRule } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";
import { withModel } from "../model.ts";
import { videoLoss } from "../video_loss.ts";

const LEARNING_RATE = 1e-3;

/** Runs a fixture of kind `adamw`. */
export function runAdamW(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ model, flat }) => {
    const steps = fixture.manifest.steps as number;
    const { loss } = videoLoss(fixture, model);
    const found = gradients(loss, flat.trainable);
    const optimizer = await AdamW.create(flat, {
      betas: [0.9, 0.999],
      eps: 1e-8,
      weightDecay: 0.01,
      clipNorm: 1,
    });
    const losses: number[] = [];
    const norms: number[] = [];
    try {
      for (let step = 0; step < steps; step++) {
        const finish = await submit({ read: [loss], write: flat.gradientTargets(found) });
        optimizer.update(LEARNING_RATE, found.map((g) => g !== undefined));
        losses.push((await finish())[0][0]);
        norms.push(await optimizer.gradientNorm());
      }
      losses.push((await (await submit({ read: [loss] }))())[0][0]);
      const produced = new Map<string, HostTensor>([
        ["losses", { shape: [losses.length], data: Float64Array.from(losses) }],
        ["grad_norms_before_clip", { shape: [norms.length], data: Float64Array.from(norms) }],
      ]);
      for (const [key, value] of await flat.stateDict()) produced.set(`param:${key}`, value);
      const rule = optimizerRule(LEARNING_RATE, steps);
      return compareOutputs(
        fixture,
        produced,
        (name) => name.startsWith("param:") ? rule : valuesRule,
      );
    } finally {
      optimizer.destroy();
    }
  });
}

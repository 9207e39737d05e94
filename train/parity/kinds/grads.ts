/** Gradients of a video loss with regard to every parameter. */
import { gradients, reshape, stack } from "../../../engine/mod.ts";
import { type Comparison, gradientRule, valuesRule } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { compareExactly, compareOutputs } from "../kind.ts";
import { type Outputs, readOutputs, withModel } from "../model.ts";
import { videoLoss } from "../video_loss.ts";

/** Runs a fixture of kind `grads`. */
export function runGradients(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ model }) => {
    const named = model.namedParameters().filter(([, p]) => p.trainable);
    const { loss, terms } = videoLoss(fixture, model);
    const found = gradients(loss, named.map(([, p]) => p));
    const outputs: Outputs = new Map([["loss", loss], ["loss_terms", stack(terms, 0)]]);
    const unreached: string[] = [];
    named.forEach(([key, { shape }], i) => {
      const g = found[i];
      if (g) outputs.set(`grad:${key}`, reshape(g, shape));
      else unreached.push(key);
    });
    const produced = await readOutputs(fixture, outputs);
    let squares = 0;
    for (const [name, { data }] of produced) {
      if (name.startsWith("grad:")) { for (const g of data) squares += g * g; }
    }
    produced.set("total_grad_norm", { shape: [], data: Float64Array.of(Math.sqrt(squares)) });
    const declared = [...(fixture.manifest.params_without_grad as string[] | undefined ?? [])];
    return [
      ...compareOutputs(
        fixture,
        produced,
        (name) => name.startsWith("grad:") ? gradientRule : valuesRule,
      ),
      compareExactly("params_without_grad", declared.sort(), unreached.sort()),
    ];
  });
}

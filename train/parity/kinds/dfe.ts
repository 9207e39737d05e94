/** The DFE operator with its gradients. */
import { gradients, mul, sum } from "../../../engine/mod.ts";
import { FlatParameters } from "../../../engine/optim/flat_parameters.ts";
import { Dfe } from "../../../model/sss/dfe.ts";
import { type Comparison, gradientRule, valuesRule } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { makeInput } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";
import { type Outputs, readOutputs } from "../model.ts";
import { inputTensor } from "../prompts.ts";

/** Runs a fixture of kind `dfe`. */
export async function runDfe(fixture: Fixture): Promise<Comparison[]> {
  const [p, q, g] = ["P", "Q", "G"].map((name) => inputTensor(fixture, name));
  const operator = new Dfe(p.shape[1]);
  const tensors = fixture.manifest.weights?.tensors ?? {};
  const get = (key: string) => {
    const spec = tensors[key];
    if (!spec) return undefined;
    const { shape, data } = makeInput({ ...spec, gen: "hash" }, fixture.stored);
    return { shape, data: data as Float32Array };
  };
  const flat = await FlatParameters.create(operator, { values: { get } });
  try {
    const { similarity, out } = operator.compare(p, q);
    const named = operator.namedParameters().filter(([key]) => key in tensors);
    const found = gradients(sum(mul(out, g)), [p, q, ...named.map(([, w]) => w)]);
    const outputs: Outputs = new Map([["similarity", similarity], ["out", out]]);
    const names = ["grad_P", "grad_Q", ...named.map(([key]) => `grad:${key}`)];
    names.forEach((name, i) => found[i] && outputs.set(name, found[i]));
    return compareOutputs(
      fixture,
      await readOutputs(fixture, outputs),
      (name) => name.startsWith("grad") ? gradientRule : valuesRule,
    );
  } finally {
    flat.destroy();
  }
}

/** Single operators with their gradients. */
import { cast, gradients, mul, readAll, sum, type Tensor, tensor } from "../../../engine/mod.ts";
import { type Comparison, failure } from "../compare.ts";
import { type Fixture, fixtureInput } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";
import { type OpAttributes, OPERATORS } from "./ops_table.ts";

/** A case of an `ops` fixture. */
export interface OpCase {
  readonly name: string;
  readonly op: string;
  readonly attrs: OpAttributes;
  readonly inputs: readonly string[];
  readonly grads: readonly string[];
}

/** Runs every case of the fixture. */
export async function runOps(fixture: Fixture): Promise<Comparison[]> {
  const produced = new Map<string, HostTensor>();
  const failures: Comparison[] = [];
  for (const op of opCases(fixture)) {
    try {
      for (const [name, value] of await runCase(fixture, op)) produced.set(name, value);
    } catch (error) {
      failures.push(failure(op.name, (error as Error).message));
    }
  }
  return [...compareOutputs(fixture, produced), ...failures];
}

/** The cases of an `ops` fixture. */
export function opCases(fixture: Fixture): readonly OpCase[] {
  return fixture.manifest.cases as readonly OpCase[];
}

/**
 * Computes the result of a case and the gradients d sum(out * G) / dX.
 *
 * @param precision type of the inputs.
 */
export async function runCase(
  fixture: Fixture,
  op: OpCase,
  precision: "f32" | "f16" = "f32",
): Promise<Map<string, HostTensor>> {
  const operator = OPERATORS[op.op];
  if (!operator) throw new Error(`The operator "${op.op}" is not supported.`);
  const input = (name: string): Tensor => {
    const { shape, data } = fixtureInput(fixture, `${op.name}/${name}`);
    return tensor(precision === "f16" ? Float16Array.from(data) : data as Float32Array, shape);
  };
  const inputs = Object.fromEntries(op.inputs.map((name) => [name, input(name)]));
  const out = operator(inputs, op.attrs);
  const found = gradients(
    sum(mul(cast(out, "f32"), cast(input("G"), "f32"))),
    op.grads.map((name) => inputs[name]),
  );
  const results = new Map<string, Tensor>([[`${op.name}/out`, out]]);
  op.grads.forEach((name, i) => {
    const gradient = found[i];
    if (gradient) results.set(`${op.name}/grad_${name}`, gradient);
  });
  const values = await readAll([...results.values()]);
  return new Map([...results].map(([name, { shape }], i) => [name, { shape, data: values[i] }]));
}

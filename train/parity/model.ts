/** The model of a fixture: its configuration, with weights from the recipe. */
import { readAll, type Tensor } from "../../engine/mod.ts";
import type { Module } from "../../engine/nn/mod.ts";
import { FlatParameters } from "../../engine/optim/flat_parameters.ts";
import { type ConfigName, CONFIGS, type Sam2Config } from "../../model/config.ts";
import { readOfficialConfig } from "../../model/official_config.ts";
import { Sam2 } from "../../model/sam2/sam2.ts";
import type { Fixture } from "./fixture.ts";
import type { HostTensor } from "./inputs.ts";
import { weightValues } from "./weights.ts";

/** A model in GPU memory. */
export interface BoundModel {
  readonly model: Sam2;
  readonly flat: FlatParameters;
  /** The same weights under another configuration. */
  reconfigured(change: (config: Sam2Config) => Sam2Config): Sam2;
}

/** Runs `use` with the fixture's model and frees its memory afterwards. */
export async function withModel<T>(
  fixture: Fixture,
  use: (bound: BoundModel) => Promise<T>,
): Promise<T> {
  const model = new Sam2(fixtureConfig(fixture));
  const flat = await bindRecipe(fixture, model);
  try {
    return await use({
      model,
      flat,
      reconfigured: (change) => shareParameters(model, new Sam2(change(model.config))),
    });
  } finally {
    flat.destroy();
  }
}

/** Gives a module the weights of the recipe; `infix` comes between the prefix and each key. */
export function bindRecipe(
  fixture: Fixture,
  module: Module,
  infix = "",
): Promise<FlatParameters> {
  const prefix = (fixture.manifest.weights?.prefix ?? "") + infix;
  const overrides = fixture.manifest.param_overrides ?? {};
  const shapes = new Map(module.namedParameters().map(([key, { shape }]) => [key, shape]));
  const unknown = Object.keys(overrides).find((key) => !shapes.has(key));
  if (unknown !== undefined) throw new Error(`The model has no weight "${unknown}" to override.`);
  const get = (key: string) => {
    const shape = shapes.get(key)!;
    return { shape, data: weightValues(prefix, key, shape, overrides) };
  };
  return FlatParameters.create(module, { values: { get } });
}

function shareParameters(from: Sam2, to: Sam2): Sam2 {
  const storages = new Map(from.namedParameters().map(([key, p]) => [key, p.storage]));
  for (const [key, parameter] of to.namedParameters()) parameter.storage = storages.get(key);
  return to;
}

/** The configuration that the manifest names, with its changes. */
export function fixtureConfig(fixture: Fixture): Sam2Config {
  const { manifest } = fixture;
  const name = manifest.weights?.config ?? "";
  const base = fixture.config
    ? readOfficialConfig(fixture.config)
    : Object.hasOwn(CONFIGS, name)
    ? CONFIGS[name as ConfigName]
    : undefined;
  if (!base) throw new Error(`There is no configuration "${name}", neither beside nor built in.`);
  const changed = applyOptions(base, manifest.model_overrides);
  return {
    ...changed,
    imageSize: manifest.image_size ?? base.imageSize,
    maskDecoder: applyOptions(base.maskDecoder, manifest.decoder_extra_args),
  };
}

/** An official name as it is spelled here: `use_m2m` is `useM2m`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** Changes fields by their official names. @throws where a field is unknown. */
export function applyOptions<T extends object>(base: T, options: unknown): T {
  const changes = Object.entries((options ?? {}) as Record<string, unknown>).map(([key, value]) => {
    const field = camelCase(key);
    if (!Object.hasOwn(base, field)) throw new Error(`The option "${key}" is not supported.`);
    return [field, value];
  });
  return { ...base, ...Object.fromEntries(changes) };
}

/** Named tensors of a model, gathered while its graph is built. */
export type Outputs = Map<string, Tensor>;

/** Evaluates the tensors that the manifest declares, in one submission. */
export async function readOutputs(
  fixture: Fixture,
  outputs: Outputs,
): Promise<Map<string, HostTensor>> {
  const declared = [...outputs].filter(([name]) => fixture.manifest.outputs?.[name]);
  const filled = declared.filter(([, t]) => t.size > 0);
  const values = await readAll(filled.map(([, t]) => t));
  const results = new Map<string, HostTensor>(
    filled.map(([name, { shape }], i) => [name, { shape, data: values[i] }]),
  );
  for (const [name, { shape, size }] of declared) {
    if (size === 0) results.set(name, { shape, data: new Float32Array(0) });
  }
  return results;
}

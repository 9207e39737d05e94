/** Fixtures on disk: a manifest, its tensors and the configuration that it names. */
import { UserError } from "../../engine/errors.ts";
import { readSafetensors } from "../../engine/safetensors.ts";
import type { OutputSpec } from "./compare.ts";
import { type HostTensor, type InputSpec, makeInput } from "./inputs.ts";
import type { WeightOverrides } from "./weights.ts";

/** How the weights of a fixture are named and where its configuration is. */
export interface WeightsSpec {
  readonly prefix: string;
  readonly config?: string;
  /** Seeds and scales of single tensors, where there is no model. */
  readonly tensors?: Readonly<Record<string, Omit<InputSpec, "gen">>>;
}

/** The fields that every kind shares; the others are read by the kind's runner. */
export interface Manifest {
  readonly fixture: string;
  readonly kind?: string;
  readonly weights?: WeightsSpec;
  readonly image_size?: number;
  readonly param_overrides?: WeightOverrides | null;
  readonly inputs?: Readonly<Record<string, InputSpec>>;
  readonly outputs?: Readonly<Record<string, OutputSpec>>;
  readonly [field: string]: unknown;
}

/** A loaded fixture. */
export interface Fixture {
  readonly name: string;
  readonly manifest: Manifest;
  readonly stored: ReadonlyMap<string, HostTensor>;
  /** Content of `config_NAME.json` beside the manifest or in a folder `golden` next to it, if any. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
}

/** Manifest file names of a folder, sorted. @throws {UserError} where the folder cannot be read. */
export async function listManifests(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.isFile && entry.name.endsWith(".manifest.json")) names.push(entry.name);
    }
  } catch (error) {
    throw new UserError(`Cannot read the folder ${folder}.`, { cause: error });
  }
  return names.sort();
}

/** The fixture's name: that of its files. */
export function fixtureName(manifestFile: string): string {
  return manifestFile.replace(/\.manifest\.json$/, "");
}

/** Loads a fixture. @throws {UserError} where one of its files is missing or damaged. */
export async function loadFixture(folder: string, manifestFile: string): Promise<Fixture> {
  const manifest = await readJson<Manifest>(`${folder}/${manifestFile}`);
  const name = fixtureName(manifestFile);
  const { tensors } = await readSafetensors(`${folder}/${name}.safetensors`);
  const config = manifest.weights?.config;
  return {
    name,
    manifest,
    stored: tensors,
    config: config === undefined ? undefined : await readConfig(folder, config),
  };
}

/** The input of a fixture, made by the recipe. @throws where the manifest lacks it. */
export function fixtureInput(fixture: Fixture, name: string): HostTensor {
  const spec = fixture.manifest.inputs?.[name];
  if (!spec) throw new Error(`The manifest has no input "${name}".`);
  return makeInput(spec, fixture.stored);
}

/**
 * A configuration beside the manifest or in the neighbouring folder `golden`, whose recipe and
 * configurations all folders of fixtures share.
 */
async function readConfig(folder: string, name: string) {
  for (const place of [folder, `${folder}/../golden`]) {
    const path = `${place}/config_${name}.json`;
    try {
      await Deno.stat(path);
    } catch {
      continue;
    }
    return await readJson<Record<string, unknown>>(path);
  }
  return undefined;
}

async function readJson<T>(path: string): Promise<T> {
  try {
    return JSON.parse(await Deno.readTextFile(path)) as T;
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

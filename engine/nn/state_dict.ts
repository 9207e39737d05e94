/** State dicts: the values of a module by their keys. */
import { shortened, UserError } from "../errors.ts";
import { device, readAll } from "../mod.ts";
import { numel, sameShape, type Shape, show } from "../shape.ts";
import type { Module } from "./module.ts";
import type { Parameter } from "./parameter.ts";
import { seededRandom, seedOf } from "./random.ts";

/** Host values of one entry of a state dict. */
export interface StateTensor {
  /** Sizes of each dimension. */
  readonly shape: Shape;
  /** Values in row-major order. */
  readonly data: Float32Array;
}

/** How a state dict and a module differ. */
export interface StateDifference {
  /** Keys of the module that the state dict lacks. */
  readonly missing: readonly string[];
  /** Keys of the state dict that the module lacks. */
  readonly unexpected: readonly string[];
  /** Keys whose shapes differ, with both shapes. */
  readonly mismatched: readonly string[];
}

/** Thrown where a state dict does not fit a module. */
export class StateDictError extends UserError {
  /** Name of the class. */
  override name = "StateDictError";

  /**
   * An error whose message lists each kind of difference, grouped by modules where there are many.
   *
   * @param what begins the message, such as the path of a file.
   */
  constructor(readonly difference: StateDifference, what = "The state dict") {
    super(`${what} does not fit the model: ${describeDifference(difference)}.`);
  }
}

/** Keys, or groups of keys, that a description names. */
const SHOWN = 8;

/** A difference in words: `2 missing (a.weight, a.bias); 1 unexpected (b)`. */
export function describeDifference({ missing, unexpected, mismatched }: StateDifference): string {
  const prefix = commonPrefix(missing, unexpected);
  return [
    list("missing", missing),
    list("unexpected", unexpected),
    list("of another shape", mismatched),
    prefix && `all keys of the model are there behind the prefix "${prefix}"`,
  ].filter(Boolean).join("; ");
}

function list(what: string, keys: readonly string[]): string {
  if (keys.length === 0) return "";
  const names = keys.length <= SHOWN ? keys : groups(keys);
  const more = names.length > SHOWN ? `, and ${names.length - SHOWN} more` : "";
  // Keys may come from a damaged file.
  const shown = names.slice(0, SHOWN).map((name) => shortened(name, 160)).join(", ");
  return `${keys.length} ${what} (${shown}${more})`;
}

/** The modules that keys belong to, two levels deep, each with the number of its keys. */
function groups(keys: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const key of keys) {
    const path = key.split(":")[0].split(".");
    const group = path.slice(0, Math.min(2, path.length - 1)).join(".") || path[0];
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  return sorted.map(([group, count]) => count === 1 ? group : `${group}: ${count}`);
}

/** What stands before each missing key among the unexpected ones, such as `module.`. */
function commonPrefix(missing: readonly string[], unexpected: readonly string[]): string {
  const [first] = missing;
  const found = first && unexpected.find((key) => key.endsWith(`.${first}`));
  if (!found) return "";
  const prefix = found.slice(0, -first.length);
  const there = new Set(unexpected);
  return missing.every((key) => there.has(prefix + key)) ? prefix : "";
}

/** Compares the keys and shapes of a state dict with those of a module. */
export function compareStateDict(
  module: Module,
  tensors: ReadonlyMap<string, { readonly shape: Shape }>,
): StateDifference {
  const wanted = new Map(module.namedParameters());
  const mismatched: string[] = [];
  for (const [key, { shape }] of tensors) {
    const own = wanted.get(key)?.shape;
    if (own && !sameShape(own, shape)) {
      mismatched.push(`${key}: ${show(shape)} instead of ${show(own)}`);
    }
  }
  return {
    missing: [...wanted.keys()].filter((key) => !tensors.has(key)),
    unexpected: [...tensors.keys()].filter((key) => !wanted.has(key)),
    mismatched,
  };
}

/**
 * Compares as {@link compareStateDict} does.
 *
 * @param strict whether missing and unexpected keys are errors; shapes that differ always are.
 * @param what begins the message of the error.
 * @returns the difference that was tolerated.
 * @throws {StateDictError} naming what does not fit.
 */
export function requireFit(
  module: Module,
  tensors: ReadonlyMap<string, { readonly shape: Shape }>,
  strict: boolean,
  what?: string,
): StateDifference {
  const difference = compareStateDict(module, tensors);
  const { missing, unexpected, mismatched } = difference;
  const refused = strict ? missing.length + unexpected.length : 0;
  if (refused + mismatched.length > 0) throw new StateDictError(difference, what);
  return difference;
}

/** Gives a parameter its values: in GPU memory where it is bound to some, else as a host array. */
export async function storeValues(parameter: Parameter, data: Float32Array): Promise<void> {
  if (!parameter.storage) {
    parameter.host = data;
    return;
  }
  const { buffer, offset } = parameter.storage;
  (await device()).gpu.queue.writeBuffer(buffer, offset, data as Float32Array<ArrayBuffer>);
}

/**
 * Copies values into the parameters of a module: into GPU memory where they are bound to some, else
 * as host arrays (kept by reference).
 *
 * @param options.strict whether missing and unexpected keys are errors (default). Shapes that differ
 * always are.
 * @returns the difference that was tolerated.
 * @throws {StateDictError} naming the keys that do not fit; then nothing has been copied.
 * @throws {RangeError} where an entry has not as many values as its shape says; likewise.
 */
export async function loadStateDict(
  module: Module,
  tensors: ReadonlyMap<string, StateTensor>,
  { strict = true }: { strict?: boolean } = {},
): Promise<StateDifference> {
  const difference = requireFit(module, tensors, strict);
  for (const [key, { shape, data }] of tensors) {
    if (data.length === numel(shape)) continue;
    throw new RangeError(`${key} has ${data.length} values, which do not fit ${show(shape)}.`);
  }
  for (const [key, parameter] of module.namedParameters()) {
    const entry = tensors.get(key);
    if (entry) await storeValues(parameter, entry.data);
  }
  return difference;
}

/** Reads all values of a module, in state-dict order. */
export async function stateDict(module: Module): Promise<Map<string, StateTensor>> {
  const named = module.namedParameters();
  const values = await readAll(named.map(([, parameter]) => parameter));
  return new Map(named.map(([key, { shape }], i) => [
    key,
    { shape, data: values[i] as Float32Array },
  ]));
}

/** First values of a parameter; they depend on its key and the seed only. */
export function initialValues(key: string, parameter: Parameter, seed: number): Float32Array {
  return parameter.initialiser(parameter.shape, seededRandom(seedOf(key, seed)));
}

/** Gives all parameters of a module first values, as {@link loadStateDict} would store them. */
export async function initialise(module: Module, seed: number): Promise<void> {
  for (const [key, parameter] of module.namedParameters()) {
    await storeValues(parameter, initialValues(key, parameter, seed));
  }
}

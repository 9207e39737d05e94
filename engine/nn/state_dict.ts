/** State dicts: the values of a module by their keys. */
import { UserError } from "../errors.ts";
import { device, readAll } from "../mod.ts";
import { sameShape, type Shape, show } from "../shape.ts";
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

  /** An error whose message lists up to 8 keys of each kind of difference. */
  constructor(readonly difference: StateDifference) {
    const { missing, unexpected, mismatched } = difference;
    const parts = [
      list("missing", missing),
      list("unexpected", unexpected),
      list("of another shape", mismatched),
    ].filter((part) => part !== "");
    super(`The state dict does not fit the model: ${parts.join("; ")}.`);
  }
}

function list(what: string, keys: readonly string[]): string {
  if (keys.length === 0) return "";
  const shown = keys.slice(0, 8).join(", ");
  const rest = keys.length > 8 ? ` and ${keys.length - 8} more` : "";
  return `${keys.length} ${what} (${shown}${rest})`;
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

async function store(parameter: Parameter, data: Float32Array): Promise<void> {
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
 */
export async function loadStateDict(
  module: Module,
  tensors: ReadonlyMap<string, StateTensor>,
  { strict = true }: { strict?: boolean } = {},
): Promise<StateDifference> {
  const difference = compareStateDict(module, tensors);
  const { missing, unexpected, mismatched } = difference;
  const refused = strict ? missing.length + unexpected.length : 0;
  if (refused + mismatched.length > 0) throw new StateDictError(difference);
  for (const [key, parameter] of module.namedParameters()) {
    const entry = tensors.get(key);
    if (entry) await store(parameter, entry.data);
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
    await store(parameter, initialValues(key, parameter, seed));
  }
}

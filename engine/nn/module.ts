/** Modules: trees of parameters whose property names are the keys of the state dict. */
import { Parameter } from "./parameter.ts";

/**
 * Base of all layers and models. Properties that are a {@link Parameter}, a `Module`, an array of
 * modules (`blocks` gives `blocks.0`, `blocks.1`, …) or a plain record of modules (`{ 0: …, 3: … }`)
 * make up the state dict; all other properties are ignored. Keys come in the order of PyTorch: the
 * parameters of a module first, then its children, both as declared.
 */
export abstract class Module {
  /** All parameters (buffers too) with their dotted keys, in state-dict order. */
  namedParameters(prefix = ""): [key: string, parameter: Parameter][] {
    const own: [string, Parameter][] = [];
    const nested: [string, Parameter][] = [];
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Parameter) own.push([prefix + name, value]);
      for (const [path, child] of modulesIn(name, value)) {
        nested.push(...child.namedParameters(`${prefix}${path}.`));
      }
    }
    return [...own, ...nested];
  }
}

function modulesIn(name: string, value: unknown): [string, Module][] {
  if (value instanceof Module) return [[name, value]];
  const list = Array.isArray(value);
  const record = !list && value?.constructor === Object;
  if (!list && !record) return [];
  return Object.entries(value as Record<string, unknown>).flatMap(([key, child]) =>
    child instanceof Module ? [[`${name}.${key}`, child] as [string, Module]] : []
  );
}

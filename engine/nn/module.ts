/** Modules: trees of parameters whose property names are the keys of the state dict. */
import { Parameter } from "./parameter.ts";

/**
 * Base of all layers and models. Properties that are a {@link Parameter}, a `Module`, an array of
 * modules (`blocks` gives `blocks.0`, `blocks.1`, …) or a plain record of modules (`{ 0: …, 3: … }`)
 * make up the state dict; all other properties are ignored. Keys come in the order of PyTorch: the
 * parameters of a module first, then its children, both as declared.
 *
 * @example A network of two layers
 * ```ts
 * import { FlatParameters, Linear, Module, read, relu, type Tensor, tensor } from "sam2";
 *
 * class Net extends Module {
 *   readonly layers = [new Linear(2, 8), new Linear(8, 1)];
 *   forward(x: Tensor): Tensor {
 *     return this.layers[1].forward(relu(this.layers[0].forward(x)));
 *   }
 * }
 *
 * const net = new Net();
 * console.log(net.namedParameters().map(([key]) => key)); // layers.0.weight, layers.0.bias, …
 * await FlatParameters.create(net, { seed: 1 }); // puts the first values into GPU memory
 * console.log(await read(net.forward(tensor([1, 2, 3, 4], [2, 2]))));
 * ```
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

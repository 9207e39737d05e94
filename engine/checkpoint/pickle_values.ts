/** What a pickle can hold: plain data, and marks for the few objects that its reader knows. */

/** A Python tuple. */
export class Tuple {
  /** A tuple of these items. */
  constructor(readonly items: readonly PickleValue[]) {}
}

/** A class or function that a pickle names, such as `collections.OrderedDict`. It is only a name. */
export class Global {
  /** The mark of `module.name`. */
  constructor(readonly name: string) {}
}

/** An object that the host of a pickle made; its reader passes it on unseen. */
export abstract class Made {
  /** Tells such objects from plain data, for the compiler too. */
  readonly made = true;
}

/** A Python dictionary. */
export type Dictionary = Map<PickleValue, PickleValue>;

/** Any value; lists are arrays, integers beyond 2^53 are bigints, bytes are arrays of bytes. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Tuple
  | PickleValue[]
  | Dictionary
  | Set<PickleValue>
  | Global
  | Made;

/** What Python calls the type of a value, for errors. */
export function typeName(value: PickleValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  if (typeof value === "bigint") return "int";
  if (typeof value === "string") return "str";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Map) return "dict";
  if (value instanceof Set) return "set";
  if (Array.isArray(value)) return "list";
  return value instanceof Global ? value.name : "PyTorch object";
}

/** Finds the state dict among the objects of a PyTorch file. */
import { type Fail, quoted } from "../errors.ts";
import { type Dictionary, type PickleValue, typeName } from "./pickle_values.ts";
import { TensorView } from "./tensor_view.ts";

/** Where training programs put the state dict among other entries, first match first. */
const WRAPPERS = ["model", "state_dict", "model_state_dict"] as const;
const MAX_DEPTH = 4;

/** The tensors of a file, and what else was beside them. */
export interface TensorDictionary {
  readonly tensors: ReadonlyMap<string, TensorView>;
  /** Names of the entries that are no tensors, or not of the state dict. */
  readonly others: readonly string[];
}

/**
 * Finds the tensors: those of the entry "model" or "state_dict" if there is one with tensors, else
 * those of the dictionary itself, else those of the only entry that is a dictionary of tensors.
 *
 * @throws {UserError} where there are none, or where it is not clear which are meant.
 */
export function findTensors(root: PickleValue, fail: Fail): TensorDictionary {
  const others: string[] = [];
  let level = root;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    if (!(level instanceof Map)) break;
    const inner = wrapped(level, fail);
    const tensors = inner ? new Map<string, TensorView>() : tensorsOf(level);
    for (const [key, value] of level) {
      if (value !== inner && !tensors.has(key as string)) others.push(nameOf(key));
    }
    if (!inner) {
      if (tensors.size > 0) return { tensors, others };
      break;
    }
    level = inner;
  }
  const found = level instanceof Map
    ? `a dictionary of ${[...level.keys()].slice(0, 8).map(nameOf).join(", ") || "nothing"}`
    : level instanceof TensorView
    ? "a single tensor"
    : `a ${typeName(level)}`;
  throw fail(`it holds no dictionary of tensors, but ${found}`);
}

function tensorsOf(level: Dictionary): Map<string, TensorView> {
  const tensors = new Map<string, TensorView>();
  for (const [key, value] of level) {
    if (typeof key === "string" && value instanceof TensorView) tensors.set(key, value);
  }
  return tensors;
}

/** The dictionary that a level is the wrapping of, if it is one. */
function wrapped(level: Dictionary, fail: Fail): Dictionary | undefined {
  const holds = (value: PickleValue | undefined): value is Dictionary =>
    value instanceof Map && (tensorsOf(value).size > 0 || WRAPPERS.some((key) => value.has(key)));
  for (const name of WRAPPERS) {
    const value = level.get(name);
    if (holds(value)) return value;
  }
  if (tensorsOf(level).size > 0) return undefined;
  const candidates = [...level].filter(([, value]) => holds(value));
  if (candidates.length > 1) {
    const names = candidates.slice(0, 8).map(([key]) => nameOf(key)).join(", ");
    throw fail(
      `it holds several dictionaries of tensors (${names}), none of which is called "model"`,
    );
  }
  return candidates[0]?.[1] as Dictionary | undefined;
}

function nameOf(key: PickleValue): string {
  return typeof key === "string"
    ? quoted(key)
    : String(typeof key === "number" ? key : typeName(key));
}

/** Weights of modules, from checkpoints and to them, one tensor in memory at a time. */
import { quoted, UserError } from "../errors.ts";
import { read } from "../mod.ts";
import type { Module } from "../nn/module.ts";
import { requireFit, type StateDifference, storeValues } from "../nn/state_dict.ts";
import { toFloat32 } from "./dtypes.ts";
import { type CheckpointFile, type CheckpointTensor, openCheckpoint } from "./open.ts";
import { writeCheckpoint } from "./write.ts";

/** How {@link loadWeights} treats a checkpoint that does not fit. */
export interface LoadOptions {
  /**
   * Takes what is there and leaves the rest as it is: missing and unexpected keys are no errors then
   * (default: false). Shapes that differ always are.
   */
  readonly allowPartial?: boolean;
}

/**
 * Copies the tensors of a checkpoint into a module: into GPU memory where its parameters are bound to
 * some, else as host arrays. Other element types are converted to f32.
 *
 * @param source a path, or an open checkpoint, which stays open.
 * @returns the keys that were tolerated.
 * @throws {StateDictError} naming the keys and shapes that do not fit; then nothing was copied.
 * @throws {UserError} where the file cannot be read, or holds a type that no parameter has.
 *
 * @example Weights to a file for PyTorch, and back
 * ```ts
 * import { configOf, CONFIGS, loadWeights, openCheckpoint, Sam2, saveWeights } from "sam2";
 * import { initialise } from "sam2";
 *
 * const model = new Sam2(CONFIGS.nano);
 * await initialise(model, 0);
 * const path = `${await Deno.makeTempDir()}/model.pt`;
 * await saveWeights(model, path);
 *
 * using file = await openCheckpoint(path); // official checkpoints are opened in the same way
 * const name = configOf(file.tensors);
 * if (!name) throw new Error("It is none of the known models.");
 * const same = new Sam2(CONFIGS[name]);
 * await loadWeights(same, file);
 * ```
 */
export async function loadWeights(
  module: Module,
  source: string | CheckpointFile,
  { allowPartial = false }: LoadOptions = {},
): Promise<StateDifference> {
  if (typeof source === "string") {
    using checkpoint = await openCheckpoint(source);
    return await loadWeights(module, checkpoint, { allowPartial });
  }
  const { tensors } = source;
  const difference = requireFit(module, tensors, !allowPartial, source.name);
  for (const [key, parameter] of module.namedParameters()) {
    const tensor = tensors.get(key);
    if (tensor) await storeValues(parameter, await floats(source.name, key, tensor));
  }
  return difference;
}

async function floats(name: string, key: string, tensor: CheckpointTensor): Promise<Float32Array> {
  const values = toFloat32(tensor.dtype, await tensor.read());
  if (values) return values;
  throw new UserError(
    `${name} holds ${quoted(key)} as ${tensor.dtype}, which no parameter can be.`,
  );
}

/**
 * Writes all values of a module under their official keys, complete or not at all: a `.safetensors`
 * file, or a `.pt` or `.pth` file for PyTorch, as {@link writeCheckpoint} does.
 *
 * @param metadata texts for a safetensors file; a `.pt` file has no place for them.
 * @throws {UserError} where the extension is none of these, or the file cannot be written.
 */
export async function saveWeights(
  module: Module,
  path: string,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const tensors = module.namedParameters().map(([key, parameter]) => {
    const values = async () => {
      const { buffer, byteOffset, byteLength } = await read(parameter);
      return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
    };
    return [key, { dtype: "float32", shape: parameter.shape, read: values }] as const;
  });
  await writeCheckpoint(path, tensors, metadata);
}

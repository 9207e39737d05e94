/** Element types of checkpoints: PyTorch's names, and what the file formats call them. */
import type { StoredDType } from "../safetensors.ts";

interface DTypeInfo {
  readonly bytes: number;
  readonly safetensors: StoredDType;
  /** The class in the module `torch` that says so in a `.pt` file; some have none. */
  readonly storage?: string;
}

/** Name of an element type, as PyTorch calls it. */
export type CheckpointDType =
  | "float64"
  | "float32"
  | "float16"
  | "bfloat16"
  | "float8_e4m3fn"
  | "float8_e5m2"
  | "int64"
  | "int32"
  | "int16"
  | "int8"
  | "uint64"
  | "uint32"
  | "uint16"
  | "uint8"
  | "bool";

/** Each element type with its size and its other names. */
export const CHECKPOINT_DTYPES: Readonly<Record<CheckpointDType, DTypeInfo>> = {
  float64: { bytes: 8, safetensors: "F64", storage: "DoubleStorage" },
  float32: { bytes: 4, safetensors: "F32", storage: "FloatStorage" },
  float16: { bytes: 2, safetensors: "F16", storage: "HalfStorage" },
  bfloat16: { bytes: 2, safetensors: "BF16", storage: "BFloat16Storage" },
  float8_e4m3fn: { bytes: 1, safetensors: "F8_E4M3" },
  float8_e5m2: { bytes: 1, safetensors: "F8_E5M2" },
  int64: { bytes: 8, safetensors: "I64", storage: "LongStorage" },
  int32: { bytes: 4, safetensors: "I32", storage: "IntStorage" },
  int16: { bytes: 2, safetensors: "I16", storage: "ShortStorage" },
  int8: { bytes: 1, safetensors: "I8", storage: "CharStorage" },
  uint64: { bytes: 8, safetensors: "U64" },
  uint32: { bytes: 4, safetensors: "U32" },
  uint16: { bytes: 2, safetensors: "U16" },
  uint8: { bytes: 1, safetensors: "U8", storage: "ByteStorage" },
  bool: { bytes: 1, safetensors: "BOOL", storage: "BoolStorage" },
};

const names = Object.keys(CHECKPOINT_DTYPES) as CheckpointDType[];

/** Types by the class of their storage, such as `FloatStorage`. */
export const TYPE_OF_STORAGE: ReadonlyMap<string, CheckpointDType> = new Map(
  names.flatMap((name) => {
    const { storage } = CHECKPOINT_DTYPES[name];
    return storage === undefined ? [] : [[storage, name] as const];
  }),
);

/** Types by their name in safetensors files. */
export const TYPE_OF_SAFETENSORS: Readonly<Record<StoredDType, CheckpointDType>> = Object
  .fromEntries(names.map((name) => [CHECKPOINT_DTYPES[name].safetensors, name])) as Record<
    StoredDType,
    CheckpointDType
  >;

/** The type called `name`, if there is one. */
export function dtypeNamed(name: string): CheckpointDType | undefined {
  return Object.hasOwn(CHECKPOINT_DTYPES, name) ? name as CheckpointDType : undefined;
}

type Convert = (buffer: ArrayBuffer) => Float32Array<ArrayBuffer>;

/** How the types that a parameter can have become f32; integers and wider types are rounded. */
const TO_FLOAT32: Readonly<Partial<Record<CheckpointDType, Convert>>> = {
  float32: (buffer) => new Float32Array(buffer),
  float64: (buffer) => new Float32Array(new Float64Array(buffer)),
  float16: (buffer) => new Float32Array(new Float16Array(buffer)),
  bfloat16: (buffer) => {
    const bits = new Uint32Array(new Uint16Array(buffer));
    for (let i = 0; i < bits.length; i++) bits[i] <<= 16;
    return new Float32Array(bits.buffer);
  },
  int64: (buffer) => Float32Array.from(new BigInt64Array(buffer), Number),
  int32: (buffer) => new Float32Array(new Int32Array(buffer)),
  int16: (buffer) => new Float32Array(new Int16Array(buffer)),
  int8: (buffer) => new Float32Array(new Int8Array(buffer)),
  uint8: (buffer) => new Float32Array(new Uint8Array(buffer)),
  bool: (buffer) => new Float32Array(new Uint8Array(buffer).map((value) => value === 0 ? 0 : 1)),
};

/**
 * Values of a tensor as f32: NaN stays NaN, what is too large becomes infinite.
 *
 * @param bytes little-endian; if they fill their buffer, f32 values are that buffer, not a copy.
 * @returns `undefined` where the type is not one of parameters (8-bit floats, wide unsigned).
 */
export function toFloat32(
  dtype: CheckpointDType,
  bytes: Uint8Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> | undefined {
  const own = bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
  return TO_FLOAT32[dtype]?.(own.buffer);
}

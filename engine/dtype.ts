/** The element types, in one table: a new type is a row here and kernels that accept it. */
import { f32 } from "../shaders/literal.ts";

/** Name of an element type. */
export type DType = "f32" | "i32" | "u32";

/** Host arrays that hold tensor data. */
export type TypedArray = Float32Array | Int32Array | Uint32Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly array: (buffer: ArrayBuffer) => TypedArray;
  /** WGSL literal of a host number. */
  readonly literal: (value: number) => string;
}

/** What each element type is on the host and in WGSL (where its name is the same). */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  f32: { bytes: 4, array: (b) => new Float32Array(b), literal: f32 },
  i32: { bytes: 4, array: (b) => new Int32Array(b), literal: (v) => `i32(${v | 0})` },
  u32: { bytes: 4, array: (b) => new Uint32Array(b), literal: (v) => `${v >>> 0}u` },
};

/** The type of a host array. */
export function dtypeOf(data: TypedArray): DType {
  return data instanceof Float32Array ? "f32" : data instanceof Int32Array ? "i32" : "u32";
}

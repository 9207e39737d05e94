/** The element types, in one table: a new type is a row here and kernels that accept it. */

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
  f32: { bytes: 4, array: (b) => new Float32Array(b), literal: f32Literal },
  i32: { bytes: 4, array: (b) => new Int32Array(b), literal: (v) => `i32(${v | 0})` },
  u32: { bytes: 4, array: (b) => new Uint32Array(b), literal: (v) => `${v >>> 0}u` },
};

function f32Literal(value: number): string {
  const rounded = Math.fround(value);
  // WGSL has no literal for these, and compilers fold arithmetic on them: spell the bits.
  if (Number.isNaN(rounded)) return "bitcast<f32>(0x7fc00000u)";
  if (rounded === Infinity) return "bitcast<f32>(0x7f800000u)";
  if (rounded === -Infinity) return "bitcast<f32>(0xff800000u)";
  const text = rounded.toPrecision(9);
  return rounded < 0 ? `f32(${text})` : /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** The type of a host array. */
export function dtypeOf(data: TypedArray): DType {
  return data instanceof Float32Array ? "f32" : data instanceof Int32Array ? "i32" : "u32";
}

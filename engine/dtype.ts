/** The element types, in one table: a new type is a row here and kernels that accept it. */
import { f32 } from "../shaders/literal.ts";

/** Name of an element type. */
export type DType = "f32" | "f16" | "i32" | "u32";

/** Host arrays that hold tensor data. */
export type TypedArray = Float32Array | Float16Array | Int32Array | Uint32Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly array: (buffer: ArrayBuffer) => TypedArray;
  /** WGSL type of a value in registers: f16 is a way to store numbers, which are computed in f32. */
  readonly computed: "f32" | "i32" | "u32";
  /** WGSL literal of a host number, of the type {@link computed}. */
  readonly literal: (value: number) => string;
}

/** What each element type is on the host and in WGSL. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  f32: { bytes: 4, array: (b) => new Float32Array(b), computed: "f32", literal: f32 },
  f16: { bytes: 2, array: (b) => new Float16Array(b), computed: "f32", literal: f32 },
  i32: {
    bytes: 4,
    array: (b) => new Int32Array(b),
    computed: "i32",
    literal: (v) => `i32(${v | 0})`,
  },
  u32: {
    bytes: 4,
    array: (b) => new Uint32Array(b),
    computed: "u32",
    literal: (v) => `${v >>> 0}u`,
  },
};

/** The type of a host array. @throws {TypeError} for an array of another type. */
export function dtypeOf(data: TypedArray): DType {
  if (data instanceof Float32Array) return "f32";
  if (data instanceof Float16Array) return "f16";
  if (data instanceof Int32Array) return "i32";
  if (data instanceof Uint32Array) return "u32";
  throw new TypeError(
    `No tensor holds the elements of ${Object.prototype.toString.call(data)}; ` +
      "convert it to a Float32Array, Float16Array, Int32Array or Uint32Array.",
  );
}

/** Refuses whole numbers where an op computes in f32. @throws {TypeError} */
export function requireFloat(op: string, { dtype }: { readonly dtype: DType }): void {
  if (!isFloat(dtype)) throw new TypeError(`${op}: the tensor is ${dtype}, neither f32 nor f16.`);
}

/** Whether a type holds numbers that are computed with in f32. */
export const isFloat = (dtype: DType): boolean => DTYPES[dtype].computed === "f32";

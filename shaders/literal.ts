/** WGSL spelling of host numbers. */

/**
 * An f32 literal. WGSL has none for NaN and infinities, and compilers refuse or fold constant ones:
 * these are spelt as bits.
 */
export function f32(value: number): string {
  const rounded = Math.fround(value);
  if (Number.isNaN(rounded)) return "bitcast<f32>(0x7fc00000u)";
  if (rounded === Infinity) return "bitcast<f32>(0x7f800000u)";
  if (rounded === -Infinity) return "bitcast<f32>(0xff800000u)";
  const text = rounded.toPrecision(9);
  return rounded < 0 ? `f32(${text})` : /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** The bits of an f32, for a size that a kernel reads as a float. */
export const bitsOf = (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0];

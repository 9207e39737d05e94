/** Exponential moving averages of flat buffers. */
import type { AdapterProfile } from "../engine/device.ts";
import { grid1d, type Lowering, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import source from "./lerp.wgsl" with { type: "text" };

/** The factor buffer: decay and 1 - decay, the difference taken in float64. */
export function lerpFactors(decay: number): Float32Array<ArrayBuffer> {
  return Float32Array.of(decay, 1 - decay);
}

/**
 * out0 (in place, [length]) becomes out0 * in1[0] + in0 * in1[1].
 *
 * in0: the new values [length]; in1: the factors, {@link lerpFactors} for a moving average.
 */
export function lowerLerp(length: number, profile: AdapterProfile): Lowering {
  const TEAM = 64;
  const V = length % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const count = length / V;
  const grid = grid1d(Math.ceil(count / TEAM), profile.maxGrid);
  const declarations = [
    storage(0, "target_values", T),
    storage(1, "source_values", T),
    storage(2, "factors"),
  ].join("\n");
  const text = expand(source, { TEAM, count, declarations, gridX: grid[0] });
  const kernel = { label: `lerp ${length}`, source: text, grid };
  return { steps: [{ kernel, args: ["out0", "in0", "in1"] }] };
}

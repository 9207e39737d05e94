/** The exponential moving average of a flat buffer. */
import type { AdapterProfile } from "../engine/device.ts";
import { grid1d, type Lowering, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import source from "./lerp.wgsl" with { type: "text" };

/** in0: the average, updated in place, in1: new values, in2: decay [1]; both of `count` values. */
export function lowerLerp(count: number, profile: AdapterProfile): Lowering {
  const T = count % 4 === 0 ? "vec4f" : "f32";
  const units = T === "vec4f" ? count / 4 : count;
  const grid = grid1d(Math.ceil(units / 64), profile.maxGrid);
  const declarations = [storage(0, "average", T), storage(1, "source", T), storage(2, "decay")];
  const text = expand(source, {
    ...{ count: units, gridX: grid[0] },
    declarations: declarations.join("\n"),
  });
  return {
    steps: [{
      kernel: { label: `lerp ${count}`, source: text, grid },
      args: ["in0", "in1", "in2"],
    }],
  };
}

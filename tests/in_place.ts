/** Reading back what a kernel has changed in place. */
import { grid1d, type Lowering, type Step, storage } from "../shaders/kernel.ts";

/** `lowering`, then copies of its inputs `changed` (of `count` values each) to outputs 0, 1 … */
export function thenCopy(lowering: Lowering, changed: readonly number[], count: number): Lowering {
  const grid = grid1d(Math.ceil(count / 64), 65535);
  const source = `${storage(0, "original")}\n${storage(1, "copied")}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${grid[0]}u + group.x) * 64u + lane;
  if (i < ${count}u) { copied[i] = original[i]; }
}`;
  const kernel = { label: `copy ${count}`, source, grid };
  const copies = changed.map((input, i): Step => ({ kernel, args: [`in${input}`, `out${i}`] }));
  return { ...lowering, steps: [...lowering.steps, ...copies] };
}

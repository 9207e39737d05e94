import { runtime } from "../engine/evaluate.ts";
import { tensor } from "../engine/mod.ts";
import { Executable } from "../engine/executable.ts";
import { declareSizes, type Kernel, type Lowering, storage } from "../shaders/kernel.ts";
import { deviceFor, runLowering } from "./kernel_harness.ts";
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";

/** Writes `first`, `first + step` … */
function ramp(first: number, step: number): Kernel {
  const sizes = { first, step };
  return {
    label: `ramp from ${first} by ${step}`,
    source: `${storage(0, "result")}
${declareSizes(sizes)}
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3u) {
  result[group.x] = f32(sizes.first + group.x * sizes.step);
}`,
    grid: [4, 1, 1],
    sizes,
  };
}

const KERNELS = [ramp(1, 2), ramp(5, 10), ramp(1, 2)];
const EXPECTED = [[1, 3, 5, 7], [5, 15, 25, 35], [1, 3, 5, 7]];

Deno.test("Kernel.sizes reaches a kernel that is run by itself", async () => {
  const lowering: Lowering = {
    steps: KERNELS.map((kernel, i) => ({ kernel, args: [`out${i}` as const] })),
  };
  const outputs = await runLowering(await deviceFor("cpu"), lowering, [], [4, 4, 4]);
  deepEqual(outputs.map((values) => [...values]), EXPECTED);
});

Deno.test("Kernel.sizes differs between the steps of a plan that share a pipeline", async () => {
  const rt = await runtime();
  equal(rt.pipelineOf(KERNELS[0], 1), rt.pipelineOf(KERNELS[1], 1));
  const stride = Math.max(16, rt.device.offsetAlignment);
  const refs = KERNELS.map((_, i) => ({ kind: "arena", offset: i * stride, bytes: 16 } as const));
  const plan = {
    steps: KERNELS.map((kernel, i) => ({ kernel, bindings: [refs[i]] })),
    results: refs,
    copies: [],
    uploads: [],
    uploadBytes: 0,
    arenaBytes: 3 * stride,
    pieceBytes: 3 * stride,
    pieces: [3 * stride],
    tenancies: [],
    memory: { arena: 3 * stride, uploads: 0, leaves: 0, targets: 0, readback: 48, peak: 0 },
  };
  const reads = KERNELS.map(() => tensor(new Float32Array(4), [4]));
  const results = await new Executable(rt, plan).run([], [], reads)();
  deepEqual(results.map((values) => [...values]), EXPECTED);
  equal(rt.sizes.groupOf({ first: 1, step: 2 }), rt.sizes.groupOf({ step: 1, first: 2 }));
});

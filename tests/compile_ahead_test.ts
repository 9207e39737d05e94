import { ok, strictEqual as equal } from "node:assert/strict";
import { add, exp, mul, readAll, reserve, runtime, sin, tensor } from "../engine/mod.ts";
import { compileAhead } from "../engine/compile_ahead.ts";
import type { PlanStep } from "../engine/compile/bindings.ts";

/** A kernel like no other, as a dispatch of `b0[i] = value`. */
function stepOf(value: number): PlanStep {
  const source = `@group(0) @binding(0) var<storage, read_write> b0: array<vec4f>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u) { b0[id.x] = vec4f(${value}.5); }`;
  return {
    kernel: { label: `store ${value}`, source, grid: [1, 1, 1] },
    bindings: [{ kind: "arena", offset: 0, bytes: 4096 }],
  };
}

const stepsOf = (count: number) => Array.from({ length: count }, (_, i) => stepOf(i));

/** What `work` gives, and how many adapters it asks for. */
async function counted<T>(work: () => Promise<T>): Promise<{ value: T; asked: number }> {
  const { gpu } = navigator;
  const { requestAdapter } = gpu;
  let asked = 0;
  gpu.requestAdapter = (options) => {
    asked++;
    return requestAdapter.call(gpu, options);
  };
  try {
    return { value: await work(), asked };
  } finally {
    Reflect.deleteProperty(gpu, "requestAdapter");
  }
}

const rt = await runtime();
const ignore = !/llvmpipe/i.test(rt.device.name) || navigator.hardwareConcurrency < 2;

Deno.test({
  name:
    "compileAhead() hands two thirds of the kernels to a second device when none is in the cache",
  ignore,
  async fn() {
    const { value, asked } = await counted(() => compileAhead(rt, stepsOf(48), 0));
    equal(asked, 1);
    equal(value, 32);
    equal(rt.failure, undefined);
  },
});

Deno.test({
  name: "compileAhead() leaves kernels to the first device when the cache seems to have them",
  ignore,
  async fn() {
    equal(await compileAhead(rt, stepsOf(48), Infinity), 0);
  },
});

Deno.test("compileAhead() opens no device when the kernels are few", async () => {
  const { value, asked } = await counted(() => compileAhead(rt, stepsOf(31), 0));
  equal(asked, 0);
  equal(value, 0);
});

Deno.test({
  name: "compileAhead() keeps to itself what the adapter says of its kernels",
  ignore,
  async fn() {
    const broken = { ...stepOf(0), kernel: { label: "broken", source: "fn", grid: [1, 1, 1] } };
    const steps = [...stepsOf(47), broken] as PlanStep[];
    equal(await compileAhead(rt, steps, 0), 32);
    equal(rt.failure, undefined);
  },
});

Deno.test("evaluation gives the same values when a second device compiles along", async () => {
  // Constants of different bits make each node a kernel of its own.
  const x = tensor(Float32Array.of(1, 2, 3));
  const nodes = Array.from({ length: 40 }, (_, i) => add(mul(x, i + 0.25), i + 0.5));
  const known = rt.pipelineCount;
  const values = await readAll(nodes);
  ok(rt.pipelineCount - known >= 32);
  values.forEach((value, i) => {
    for (let j = 0; j < 3; j++) equal(value[j], (j + 1) * (i + 0.25) + i + 0.5);
  });
});

Deno.test("submit() makes pipelines of plans made ahead, and their runs make no others", async () => {
  const x = tensor(Float32Array.of(0, 1, 2));
  const later = [exp(add(x, 6.5)), sin(mul(x, 7.5))];
  await reserve({ read: later });
  const before = rt.pipelineCount;
  const [now] = await readAll([add(x, 9.25)]);
  equal(now[2], 11.25);
  const after = rt.pipelineCount;
  ok(after >= before + 3, `${after - before} pipelines`);
  const [e, s] = await readAll(later);
  equal(rt.pipelineCount, after);
  ok(Math.abs(e[1] / Math.exp(7.5) - 1) < 1e-5);
  ok(Math.abs(s[1] - Math.sin(7.5)) < 1e-5);
});

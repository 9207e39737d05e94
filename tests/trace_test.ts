import {
  gradients,
  mean,
  mseLoss,
  relu,
  runtime,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters } from "../engine/optim/mod.ts";
import { type Trace, type TraceEvent, Tracer } from "../engine/trace.ts";
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

class Net extends Module {
  readonly first = new Linear(24, 40);
  readonly second = new Linear(40, 24);

  forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x)));
  }
}

/** A net with its optimiser; `step` trains it once and gives the loss. */
async function training() {
  const net = new Net();
  const flat = await FlatParameters.create(net);
  const optimizer = await AdamW.create(flat, { weightDecay: 0 });
  const x = tensor(Float32Array.from({ length: 16 * 24 }, (_, i) => Math.sin(i)), [16, 24]);
  const loss = mseLoss(net.forward(x), mean(x, [1], true));
  const write = flat.gradientTargets(gradients(loss, flat.trainable));
  const step = async () => {
    const finish = await submit({ read: [loss], write });
    optimizer.update(1e-2);
    return (await finish())[0][0];
  };
  const free = () => {
    optimizer.destroy();
    flat.destroy();
  };
  return { step, free };
}

const onTrack = ({ traceEvents }: Trace, tid: number): TraceEvent[] =>
  traceEvents.filter((e) => e.ph === "X" && e.tid === tid);

const timed = (await runtime()).device.gpu.features.has("timestamp-query");

Deno.test({
  name: "Tracer gives every kernel a span on the adapter's track, and changes no result" +
    (timed ? "" : " (the adapter has no timestamp queries)"),
  ignore: !timed,
  fn: async () => {
    const rt = await runtime();
    const [plain, traced] = [await training(), await training()];
    const expected = [await plain.step(), await plain.step()];
    const losses = [await traced.step()];
    const before = { ...rt.counters };
    const tracer = Tracer.start(rt);
    const start = performance.now();
    losses.push(await traced.step());
    tracer.span("step 2", start, performance.now());
    const dispatches = rt.counters.dispatches - before.dispatches;
    const submits = rt.counters.submits - before.submits;
    const trace = await tracer.finish({ normal_step_ms: 1.5 });
    deepEqual(losses, expected);
    const kernels = onTrack(trace, 2);
    equal(kernels.length, dispatches);
    ok(kernels.some(({ name }) => name.startsWith("matmul")));
    ok(kernels.every(({ name, dur }) => name.length > 0 && dur! >= 0));
    ok(kernels.some(({ dur }) => dur! > 0));
    const starts = kernels.map(({ ts }) => ts!);
    deepEqual(starts, starts.toSorted((a, b) => a - b));
    ok(
      Math.min(...starts) >= 0 && Math.max(...starts) < 60e6,
      "microseconds from the step's start",
    );
    const host = onTrack(trace, 1).map(({ name }) => name);
    equal(host.length, submits + 1);
    equal(host[0], "step 2");
    match(host[1], /^encode and submit \d+ kernels$/);
    equal(trace.metadata.normal_step_ms, 1.5);
    match(`${trace.metadata.timing}`, /timestamp queries/);
    equal(rt.watcher, undefined);
    plain.free();
    traced.free();
  },
});

Deno.test("Tracer times whole submissions where kernels cannot be timed", async () => {
  const rt = await runtime();
  const { step, free } = await training();
  await step();
  const before = { ...rt.counters };
  const tracer = Tracer.start(rt, false);
  throws(() => Tracer.start(rt), /recorded already/);
  await step();
  const trace = await tracer.finish();
  const spans = onTrack(trace, 2);
  equal(spans.length, rt.counters.submits - before.submits);
  const kernels = spans.map(({ name }) => parseInt(name)).reduce((a, b) => a + b);
  equal(kernels, rt.counters.dispatches - before.dispatches);
  ok(spans.every((s, i) => i === 0 || s.ts! >= spans[i - 1].ts! + spans[i - 1].dur! - 0.01));
  match(`${trace.metadata.timing}`, /^This adapter has no timestamp queries/);
  free();
});

Deno.test({
  name: "Tracer takes several query sets where a step has more kernels than one holds",
  ignore: !timed,
  fn: async () => {
    const rt = await runtime();
    const { step, free } = await training();
    await step();
    const before = { ...rt.counters };
    const tracer = Tracer.start(rt);
    while (rt.counters.dispatches - before.dispatches <= 2500) await step();
    const trace = await tracer.finish();
    const kernels = onTrack(trace, 2);
    equal(kernels.length, rt.counters.dispatches - before.dispatches);
    const starts = kernels.map(({ ts }) => ts!);
    deepEqual(starts, starts.toSorted((a, b) => a - b));
    ok(rt.counters.liveBytes - before.liveBytes < 2 ** 17, "only staging memory stays");
    free();
  },
});

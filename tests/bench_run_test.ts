import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { measureKernels } from "../bench/kernels.ts";
import { takeInventory, type Workload } from "../bench/inventory.ts";
import { run } from "../bench/main.ts";
import { partsOf } from "../bench/parts.ts";
import { PeerProcess } from "../bench/peer_process.ts";
import { benchPeers } from "../bench/peers.ts";
import type { PeerCase } from "../bench/peers/protocol.ts";
import type { Report, Row } from "../bench/report.ts";
import { benchStep } from "../bench/step.ts";
import { stepWorkload } from "../bench/steps.ts";
import { benchTracking } from "../bench/tracking.ts";
import { firstMasks } from "../bench/tracking_command.ts";
import { constant, conv2d, gradients, matmul, runtime, softmax, sum } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";

/** A product whose softmax is summed, with the gradient of the left factor. */
function smallWorkload(): Workload {
  const a = constant(new Float32Array(12 * 8).fill(0.5), [12, 8]);
  const b = constant(new Float32Array(8 * 4).fill(0.25), [8, 4]);
  const y = softmax(matmul(a, b), 1);
  return { name: "small", forward: [y], backward: [gradients(sum(y), [a])[0]!] };
}

const inventory = async (workload: Workload) =>
  takeInventory(workload, await activeProfile(), (await runtime()).device.offsetAlignment);

Deno.test("takeInventory() finds ops, passes and costs when a graph is planned", async () => {
  const { works, flops, kernels } = await inventory(smallWorkload());
  const heavy = works.filter(({ name }) => !["map", "reduce"].includes(name));
  deepEqual(
    heavy.map(({ name, pass, flops }) => [name, pass, flops]),
    [
      ["matmul", "forward", 2 * 12 * 8 * 4],
      ["softmax", "forward", 0],
      ["softmaxBackward", "backward", 0],
      ["matmul", "backward", 2 * 12 * 8 * 4],
    ],
  );
  equal(flops, 4 * 12 * 8 * 4);
  ok(kernels >= 4);
  equal(heavy[1].bytes, 2 * 12 * 4 * 4);
  ok(works.every(({ steps, operands }) => steps.length > 0 && operands.length > 0));
});

Deno.test("takeInventory() counts the same operations forward and back when it is a convolution", async () => {
  const x = constant(new Float32Array(2 * 4 * 8 * 8).fill(1), [2, 4, 8, 8]);
  const w = constant(new Float32Array(6 * 2 * 9).fill(1), [6, 2, 3, 3]);
  const y = conv2d(x, w, undefined, { padding: 1, stride: 2, groups: 2 });
  const backward = gradients(sum(y), [x, w]).map((g) => g!);
  const { works } = await inventory({ name: "conv", forward: [y], backward });
  const costs = works.filter(({ flops }) => flops > 0).map(({ name, flops }) => [name, flops]);
  const each = 2 * (2 * 6 * 4 * 4) * 2 * 9;
  deepEqual(costs.sort(), [["conv2d", each], ["conv2dInput", each], ["conv2dWeight", each]]);
});

Deno.test("takeInventory() plans parts of SAM-2 and training steps when nothing is in memory", async () => {
  const bytes = (await runtime()).counters.liveBytes;
  for (const part of partsOf("tiny", 64)) ok((await inventory(part)).flops > 1e5, part.name);
  for (const method of ["supervised", "sss"] as const) {
    const workload = stepWorkload({ method, size: 32, batch: 1, unlabelledBatch: 1, classes: 2 });
    const passes = new Set((await inventory(workload)).works.map(({ pass }) => pass));
    deepEqual([...passes], ["forward", "backward"]);
  }
  equal((await runtime()).counters.liveBytes, bytes);
});

function check(row: Row, group: string): void {
  equal(row.group, group);
  ok(row.ms > 0 && row.cpu_ms >= 0, `${row.name} took ${row.ms} ms`);
  ok(row.gflops === null || row.gflops > 0);
}

Deno.test("benchTracking() sets prompts beside the image, and several objects beside one", async () => {
  const bytes = (await runtime()).counters.liveBytes;
  const options = { config: "tiny", size: 32, objects: [3, 1], rounds: 1 };
  const { rows, peaks } = await benchTracking(options);
  ok(peaks.gflops > 0);
  for (const row of rows) check(row, "model");
  const [image, prompt, one, three] = rows;
  equal(prompt.details.of_embedding, prompt.ms / image.ms);
  deepEqual([one.shape, three.shape], ["1 object", "3 objects"]);
  ok(Number(three.details.gpu_bytes) > Number(one.details.gpu_bytes));
  // The image is encoded once, so three objects are less than three times the work.
  const ratio = Number(three.details.flops) / Number(one.details.flops);
  ok(ratio > 1 && ratio < 3, `${ratio}`);
  equal(three.details.flop_ratio, ratio);
  equal(three.details.over_flop_ratio, three.ms / one.ms / ratio);
  equal(three.details.of_separate_runs, three.ms / one.ms / 3);
  ok((await runtime()).counters.liveBytes < bytes + 64e6);
});

Deno.test("benchTracking() counts the same memory however long it measures", async () => {
  const bytes = async (rounds: number) => {
    const { rows } = await benchTracking({ config: "tiny", size: 32, objects: [2], rounds });
    return rows[2].details.state_bytes;
  };
  equal(await bytes(1), await bytes(3));
});

Deno.test("firstMasks() splits the time of a process, and compiles less when its cache is filled", async () => {
  const start = performance.now();
  const rows = await firstMasks("tiny", 32);
  const whole = performance.now() - start;
  const [empty, filled] = rows.map(({ ms, details: { load_ms, compile_ms, compute_ms } }) => {
    const parts = [load_ms, compile_ms, compute_ms].map(Number);
    ok(parts.every((part) => part > 0), `${parts}`);
    const sum = parts.reduce((a, b) => a + b);
    ok(Math.abs(sum - ms) < 1e-6 * ms, `${parts} are not ${ms}`);
    return { ms, compile: parts[1] };
  });
  ok(filled.compile < empty.compile / 2, `${filled.compile} and ${empty.compile} ms`);
  ok(empty.ms + filled.ms < whole);
});

Deno.test("measureKernels() gives rates and shares when kernels of a plan are replayed", async () => {
  const rt = await runtime();
  const options = { top: 0, longest: 1000, rounds: 1 };
  const workloads = [{ name: "small", build: smallWorkload }];
  const { rows, peaks } = await measureKernels(rt, await activeProfile(), workloads, options);
  ok(peaks.gflops > 0 && peaks.gbps > 0);
  for (const row of rows) {
    check(row, "kernels");
    ok(row.share! > 0);
  }
  const products = rows.filter(({ name }) => name === "matmul");
  equal(products.length, 2);
  ok(products.every(({ schedule, gflops }) => schedule && gflops));
});

/** One round of single ops with all peers. */
const OPS = {
  models: false,
  configs: [],
  sizes: [],
  parts: [],
  passes: [],
  without: [],
  rounds: 1,
};

Deno.test("benchPeers() fails with a sentence when no work fits", async () => {
  await rejects(benchPeers({ ...OPS, only: "nothing*" }, [], CASES), {
    name: "UserError",
    message: 'No work fits "nothing*".',
  });
});

Deno.test("bench model writes rows of both passes when a file is asked for", async () => {
  const file = await Deno.makeTempFile();
  try {
    const part = "--config tiny --size 64 --part memory_encoder --rounds 1";
    equal(await run(["model", ...part.split(" "), "--json", file]), 0);
    const { adapter, rows, peaks } = JSON.parse(await Deno.readTextFile(file)) as Report;
    equal(adapter, (await runtime()).device.name);
    ok(peaks!.gflops > 0);
    deepEqual(rows.map(({ pass }) => pass), ["forward", "forward+backward"]);
    for (const row of rows) {
      check(row, "model");
      for (const name of ["gpu_bytes", "dispatches", "kernels", "host_ms"]) {
        ok(Number(row.details[name]) > 0, name);
      }
    }
    ok(Number(rows[1].details.gpu_bytes) > Number(rows[0].details.gpu_bytes));
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("benchStep() splits a step and creates nothing when it is steady", async () => {
  const { rows } = await benchStep("supervised", {
    size: 32,
    batch: 2,
    unlabelledBatch: 2,
    rounds: 1,
  });
  const passes = ["step", "forward", "backward", "optimiser", "host", "first step"];
  deepEqual(rows.map(({ pass }) => pass), passes);
  const { details } = rows[0];
  equal(details.buffers_created, 0);
  ok(Number(details.submits) <= 3 && Number(details.dispatches) > 100);
  ok(Number(details.peak_gpu_bytes) > 1e6 && Number(details.kernels) > 50);
});

const FAKE = {
  name: "fake",
  commands: [[
    Deno.execPath(),
    "run",
    "-A",
    fileURLToPath(new URL("fake_peer.ts", import.meta.url)),
  ]],
} as const;

const CASES: readonly PeerCase[] = (["softmax", "elementwise", "matmul"] as const).map((kind) => ({
  kind,
  shapes: kind === "matmul" ? [[8, 4], [4, 8]] : [[8, 16]],
  stride: 1,
  padding: 0,
  groups: 1,
}));

Deno.test("benchPeers() compares what peers do right and names the rest when some are missing", async () => {
  const missing = { name: "missing", commands: [["no-such-program"]] } as const;
  const { rows, notes } = await benchPeers(OPS, [FAKE, missing], CASES);
  deepEqual(rows.map(({ peers }) => Object.keys(peers)), [["fake"], [], []]);
  ok(rows[0].peers.fake > 0 && rows[0].gbps! > 0 && Number(rows[0].details.fake_ms) > 0);
  deepEqual(notes.map((note) => note.replace(/(absent: ).*/, "$1").replace(/by .*/, "by")), [
    "fake: fake 1.0",
    "missing is absent: ",
    "elementwise [8,16]: fake differs by",
    "matmul [8,4] [4,8]: fake 1.0 has no matmul",
  ]);
});

Deno.test("PeerProcess.start() tells the reason when a peer does not answer", async () => {
  const silent = [Deno.execPath(), "eval", "console.error('no such package')"] as const;
  equal(await PeerProcess.start({ name: "silent", commands: [silent] }), "no such package");
});

import {
  add,
  evaluate,
  forgetPlans,
  full,
  gradients,
  matmul,
  mean,
  MemoryError,
  mul,
  read,
  readAll,
  relu,
  reserve,
  runtime,
  square,
  submit,
  sum,
  tensor,
  type TypedArray,
} from "../engine/mod.ts";
import { limitsOf, requireMemory, sizeText } from "../engine/memory.ts";
import { Linear } from "../engine/nn/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { withMemory } from "./engine_modes.ts";

/** A product of two square matrices from the host; each computation has a plan of its own. */
const product = (side: number) => {
  const x = tensor(new Float32Array(side * side).fill(1), [side, side]);
  return matmul(x, x);
};

Deno.test("sizeText() takes the unit that fits", () => {
  deepEqual([0, 1000, 1536, 2 ** 20, 3.25 * 2 ** 30, 2 ** 52].map(sizeText), [
    "0 bytes",
    "1000 bytes",
    "1.5 KiB",
    "1.0 MiB",
    "3.3 GiB",
    "4096.0 TiB",
  ]);
});

Deno.test("requireMemory() tells what is needed and what there is", () => {
  const limits = { bufferBytes: 2 ** 20, totalBytes: () => 3 * 2 ** 20 };
  requireMemory("The work", limits, 2 ** 20, [2 ** 20, 2 ** 20]);
  throws(() => requireMemory("The work", limits, 0, [2 ** 21]), {
    name: "MemoryError",
    userFacing: true,
    needed: 2 ** 21,
    available: 2 ** 20,
    message:
      "The work needs a buffer of 2.0 MiB in GPU memory; this adapter's buffers hold at most 1.0 MiB.",
  });
  throws(() => requireMemory("The work", limits, 2 ** 20 + 1, [2 ** 20, 2 ** 20]), {
    message: "The work needs 3.0 MiB of GPU memory; this machine can give 3.0 MiB.",
  });
  requireMemory("The work", { ...limits, totalBytes: () => undefined }, 2 ** 40, []);
});

Deno.test("limitsOf() knows the machine's memory where the adapter computes in it", async () => {
  const { device, counters } = await runtime();
  const { bufferBytes, totalBytes } = limitsOf(device);
  equal(bufferBytes, device.gpu.limits.maxBufferSize);
  const total = totalBytes(counters.liveBytes);
  if (device.profile.class === "gpu") equal(total, undefined);
  else ok(total! > 2 ** 26 && total! <= Deno.systemMemoryInfo().total + counters.liveBytes);
});

Deno.test("evaluate() refuses a plan whose buffers the adapter cannot make, before any of it runs", () =>
  withMemory({ bufferBytes: 2 ** 16 }, async (rt) => {
    const before = { ...rt.counters };
    await rejects(evaluate([product(160)]), MemoryError);
    deepEqual(rt.counters, before);
    equal((await read(product(16)))[0], 16);
    equal(rt.failure, undefined);
  }));

Deno.test("evaluate() refuses a plan beyond the memory that is left", () =>
  withMemory({ totalBytes: (live) => live + 2 ** 16 }, async (rt) => {
    const before = { ...rt.counters };
    await rejects(
      evaluate([product(161)]),
      /^MemoryError: The work needs .* of GPU memory; this machine can give /,
    );
    deepEqual(rt.counters, before);
    equal((await read(product(17)))[0], 17);
  }));

Deno.test("evaluate() frees what it has made for results where there is no room for all", () =>
  withMemory({ bufferBytes: 2 ** 12 }, async (rt) => {
    const results = () => [add(full([100], 2), 1), add(full([5000], 2), 1)];
    const before = rt.counters.liveBytes;
    for (let run = 0; run < 2; run++) {
      await rejects(evaluate(results()), MemoryError);
      equal(rt.counters.liveBytes, before);
    }
    equal(rt.failure, undefined);
  }));

/** The gradients of three layers, in an arena of several products' size. */
async function slopes(): Promise<{ values: TypedArray[]; arena: number }> {
  const x = tensor(Float32Array.from({ length: 64 * 64 }, (_, i) => Math.sin(i)), [64, 64]);
  const loss = mean(square(matmul(relu(matmul(relu(matmul(x, x)), x)), x)));
  const read = [loss, ...gradients(loss, [x]).map((g) => g!)];
  const { arena } = await reserve({ read });
  return { values: await readAll(read), arena };
}

Deno.test("an arena beyond the largest buffer is held by several, with the same results", async () => {
  const whole = await slopes();
  await forgetPlans();
  await withMemory({ bufferBytes: 2 ** 15 }, async (rt) => {
    const { values, arena } = await slopes();
    ok(arena > 2 * 2 ** 15 && rt.arenaBytes >= arena);
    deepEqual(values, whole.values);
    deepEqual((await slopes()).values, whole.values);
  });
  await forgetPlans();
});

Deno.test("a larger arena replaces the one before, and plans of that one follow", async () => {
  const { counters } = await runtime();
  const x = tensor(new Float32Array(24 * 24).fill(1), [24, 24]);
  const small = { read: [matmul(matmul(x, x), x)] };
  const values = async () => (await (await submit(small))())[0][0];
  equal(await values(), 24 * 24);
  const large = matmul(product(512), product(512));
  const { arena } = await reserve({ read: [large] });
  const first = counters.liveBytes;
  const larger = matmul(product(640), product(640));
  const next = await reserve({ read: [larger] });
  ok(next.arena > arena);
  equal(counters.liveBytes - first, next.arena - arena);
  equal(await values(), 24 * 24);
  const { bindGroupsCreated } = counters;
  equal(await values(), 24 * 24);
  equal(counters.bindGroupsCreated, bindGroupsCreated);
});

Deno.test("reserve() states the peak of a training step, and nothing more is made when it runs", async () => {
  const rt = await runtime();
  const layer = new Linear(96, 160);
  const start = rt.counters.liveBytes;
  const flat = await FlatParameters.create(layer);
  const x = tensor(new Float32Array(32 * 96).fill(0.5), [32, 96]);
  const y = layer.forward(x);
  const loss = sum(mul(y, y));
  const write = flat.gradientTargets(gradients(loss, flat.trainable));
  const parameters = rt.counters.liveBytes - start;
  const request = { read: [loss], write };
  const { pipelineCount } = rt;
  const memory = await reserve(request);
  equal(rt.pipelineCount, pipelineCount);
  equal(memory.uploads, 32 * 96 * 4);
  // Segments of flat buffers are padded to the alignment of their windows.
  ok(memory.leaves + memory.targets <= parameters);
  ok(memory.leaves + memory.targets >= 2 * 4 * (96 * 160 + 160));
  const { arena, uploads, leaves, targets, readback, peak } = memory;
  equal(peak, arena + uploads + leaves + targets + readback);
  const reserved = rt.counters.liveBytes;
  await (await submit(request))();
  const grown = rt.counters.liveBytes - reserved;
  ok(grown >= uploads && grown <= uploads + readback + 2 ** 15, `${grown}`);
  deepEqual(await reserve(request), memory);
  flat.destroy();
});

import { Chooser, tuneWorkloads } from "../bench/tune.ts";
import { type AdapterProfile, type Device, openDevice } from "../engine/device.ts";
import { constant, matmul, runtime, tensor } from "../engine/mod.ts";
import { saveTiles, tileCachePath } from "../engine/tile_cache.ts";
import { lowerConv2d } from "../shaders/conv2d.ts";
import type { Lowering } from "../shaders/kernel.ts";
import { lowerMatmul } from "../shaders/matmul.ts";
import { measuredTile, shapeClassOf, TUNING } from "../shaders/tuning.ts";
import { close, values } from "./close.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";
import { planFor } from "./plans.ts";
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";

type Lower = (profile: AdapterProfile) => Lowering;

/** Checks that all tiles of a lowering give the values of the usual one. */
async function checkTiles(
  device: Device,
  lower: Lower,
  lengths: readonly number[],
): Promise<number> {
  const [a, b, out] = lengths;
  const inputs = [values(a, 1), values(b, 2)];
  const run = (lowering: Lowering) => runLowering(device, lowering, inputs, [out]);
  const [expected] = await run(lower(device.profile));
  const chooser = new Chooser(() => undefined);
  lower({ ...device.profile, tiles: chooser });
  const [{ tiles }] = [...chooser.asked.values()];
  for (const tile of tiles) {
    const forced = lower({ ...device.profile, tiles: new Chooser(() => tile) });
    const labels = forced.steps.map(({ kernel }) => kernel.label);
    ok(labels.some((label) => label.endsWith(` ${device.profile.class} ${tile}`)), `${labels}`);
    const [result] = await run(forced);
    close(result, expected, 2e-5, labels.join("; "));
    deepEqual((await run(forced))[0], result, `${labels} twice`);
  }
  return tiles.length;
}

for (const schedule of SCHEDULES) {
  Deno.test(`lowerMatmul() gives the same product whichever tile is chosen on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const sizes = [[2, 17, 33, 35, false, true], [1, 36, 20, 44, true, false]] as const;
    // Without subgroups there are twice as many tiles.
    for (
      const [batch, m, k, n, transA, transB] of sizes.slice(schedule === "cpu-nosubgroup" ? 1 : 0)
    ) {
      const shape = { batchA: batch, batchB: batch, m, k, n, transA, transB };
      const lengths = [batch * m * k, batch * k * n, batch * m * n];
      const count = await checkTiles(device, (profile) => lowerMatmul(shape, profile), lengths);
      ok(count >= 2);
    }
  });
}

Deno.test("lowerConv2d() gives the same result whichever tile is chosen on cpu", async () => {
  const device = await deviceFor("cpu");
  const pair = (n: number): [number, number] => [n, n];
  const shape = {
    ...{ batch: 1, channels: 3, height: 5, width: 17, filters: 33, groups: 1 },
    ...{ kernel: pair(3), stride: pair(2), padding: pair(1) },
  };
  const lengths = [3 * 5 * 17, 33 * 3 * 9, 33 * 3 * 9];
  equal(await checkTiles(device, (profile) => lowerConv2d(shape, profile), lengths), 4);
});

Deno.test("measuredTile() asks the adapter's tiles, then those of its class, when both know some", () => {
  const table = { a: "32", b: "8" };
  const choose = (shapeClass: string, own?: string) => {
    const tiles = own === undefined ? undefined : new Chooser(() => own);
    const question = { label: "product", shapeClass };
    return measuredTile(question, TUNING.cpu.rows, String, { tiles }, table);
  };
  equal(choose("a"), 32);
  equal(choose("a", "4"), 4);
  equal(choose("b", "5"), 8);
  equal(choose("c", "5"), undefined);
});

Deno.test("shapeClassOf() joins sizes of the same power of two when tiles have many rows of them", async () => {
  const [cpu, gpu] = (await Promise.all(["cpu", "gpu"].map(deviceFor))).map((d) => d.profile);
  const text = (profile: AdapterProfile, ...sizes: number[]) => shapeClassOf(profile, "x", sizes);
  equal(text(cpu, 63, 65, 1024), `cpu${cpu.lanes} x 63x128x1024`);
  equal(text(cpu, 65), text(cpu, 128));
  equal(text(gpu, 64, 129), "gpu x 64x256");
});

/** Runs `body` with an empty folder for caches; gives what was printed on standard error. */
async function withCache(body: (path: string) => Promise<void>, tuning = ""): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  const names = ["XDG_CACHE_HOME", "SSS_TUNING"];
  const before = names.map((name) => Deno.env.get(name));
  const print = console.error;
  const printed: string[] = [];
  try {
    [folder, tuning].forEach((value, i) => Deno.env.set(names[i], value));
    console.error = (line: string) => printed.push(line);
    await body(tileCachePath()!);
  } finally {
    console.error = print;
    before.forEach((value, i) =>
      value === undefined ? Deno.env.delete(names[i]) : Deno.env.set(names[i], value)
    );
    await Deno.remove(folder, { recursive: true });
  }
  return printed;
}

/** An opened device's name and what its profile makes of a product of 24 x 40 and 40 x 20. */
async function opened(schedule?: string) {
  const device = await openDevice(schedule);
  const chooser = new Chooser(() => undefined);
  const lower = (profile: AdapterProfile) => {
    const leaf = (...shape: [number, number]) =>
      tensor(new Float32Array(shape[0] * shape[1]), shape);
    return planFor([matmul(leaf(24, 40), leaf(40, 20))], profile).steps[0].kernel.label;
  };
  const label = lower(device.profile);
  lower({ ...device.profile, tiles: chooser });
  const [{ shapeClass, tiles }] = [...chooser.asked.values()];
  device.gpu.destroy();
  return { name: device.name, profile: device.profile, label, shapeClass, tiles };
}

Deno.test("openDevice() reads the tuned tiles when there are some, and kernels have them", async () => {
  const printed = await withCache(async (path) => {
    const usual = await opened();
    equal(usual.profile.tiles, undefined);
    const other = usual.tiles.find((tile) => !usual.label.endsWith(` ${tile}`))!;
    equal(await saveTiles(usual.name, { [usual.shapeClass]: other }), path);
    const tuned = await opened();
    ok(tuned.label.endsWith(` ${usual.profile.class} ${other}`), tuned.label);
    // Winners of one schedule say nothing about another.
    const [{ label }, plain] = [await opened("gpu-nosubgroup"), await deviceFor("gpu-nosubgroup")];
    ok(label.endsWith(` ${plain.profile.class} 32x32`), label);
    Deno.env.set("SSS_TUNING", "off");
    const off = await opened();
    deepEqual([off.profile.tiles, off.label], [undefined, usual.label]);
  });
  deepEqual(printed, []);
});

Deno.test("openDevice() leaves the choice to the table when no tile has the kept name", async () => {
  await withCache(async () => {
    const usual = await opened();
    await saveTiles("another adapter", { [usual.shapeClass]: usual.tiles[1] });
    equal((await opened()).profile.tiles, undefined);
    await saveTiles(usual.name, {
      [usual.shapeClass]: "7x7",
      "cpu8 product 1x1x1x1 k1 k1": "32x32",
    });
    const { profile, label } = await opened();
    ok(profile.tiles);
    equal(label, usual.label);
  });
});

for (
  const [what, text, reason] of [
    [
      "is cut off",
      '{"version":1,"adap',
      /^The tuned tiles in .*tiles\.json are not used: it is not JSON; .*\.$/,
    ],
    [
      "has another version",
      '{"version":2,"adapters":{}}',
      /it is no table of tiles of version 1; /,
    ],
    ["holds something else", '{"version":1,"adapters":{"a":{"b":3}}}', /it is no table of tiles/],
    ["is a folder", undefined, /it cannot be read; /],
  ] as const
) {
  Deno.test(`openDevice() ignores tuned tiles with one sentence when the file ${what}`, async () => {
    let at = "";
    const printed = await withCache(async (path) => {
      at = path;
      await Deno.mkdir(text === undefined ? path : path.replace(/[^/\\]+$/, ""), {
        recursive: true,
      });
      if (text !== undefined) await Deno.writeTextFile(path, text);
      for (let i = 0; i < 2; i++) equal((await openDevice()).profile.tiles, undefined);
      if (text !== undefined) {
        await saveTiles("a", { b: "c" });
        match(await Deno.readTextFile(path), /"b": "c"/);
      } else {await rejects(saveTiles("a", { b: "c" }), {
          name: "UserError",
          message: /Cannot write/,
        });}
    });
    equal(printed.length, 1, at);
    match(printed[0], reason);
  });
}

Deno.test("saveTiles() keeps what was tuned before when it adds tiles", async () => {
  await withCache(async (path) => {
    await saveTiles("a", { x: "1", y: "2" });
    await saveTiles("b", { x: "3" });
    await saveTiles("a", { y: "4" });
    const { adapters } = JSON.parse(await Deno.readTextFile(path));
    deepEqual(adapters, { a: { x: "1", y: "4" }, b: { x: "3" } });
    deepEqual([...Deno.readDirSync(path.replace(/[^/\\]+$/, ""))].map(({ name }) => name), [
      "tiles.json",
    ]);
  });
});

Deno.test("openDevice() fails with a sentence when SSS_TUNING is unknown", async () => {
  await withCache(
    () =>
      rejects(openDevice(), {
        name: "UserError",
        message: 'SSS_TUNING is "maybe"; it may be on or off.',
      }),
    "maybe",
  );
});

Deno.test("tuneWorkloads() measures each tile of a class and writes the winners when asked to", async () => {
  // Opened where drivers keep their own caches.
  const { name: adapter, profile } = (await runtime()).device;
  const build = () => {
    const leaf = (rows: number, columns: number) =>
      constant(new Float32Array(rows * columns).fill(0.5), [rows, columns]);
    return { name: "small", forward: [matmul(leaf(24, 40), leaf(40, 20))], backward: [] };
  };
  await withCache(async (path) => {
    const options = { top: 0, rounds: 1, cpuTime: false, write: true };
    const { rows: [row], notes } = await tuneWorkloads([{ name: "small", build }], options);
    const { tile_now, tile_best, gain } = row.details;
    match(row.schedule!, new RegExp(`^${profile.class}\\d* product 1x24x40x20 k4 outer4$`));
    match(String(tile_now), /^\d+x\d+/);
    ok(row.ms > 0);
    const better = tile_best !== tile_now;
    ok(better ? Number(gain) >= 0.05 : gain === 0, `${gain}`);
    const text = await Deno.readTextFile(path).catch(() => '{"adapters":{}}');
    const expected = better ? { [adapter]: { [row.schedule!]: tile_best } } : {};
    deepEqual(JSON.parse(text).adapters, expected);
    match(notes[0], new RegExp(`^${Number(better)} of 1 classes`));
    const missing = { ...options, only: "conv*", write: false };
    await rejects(tuneWorkloads([{ name: "small", build }], missing), /No shape fits/);
  });
});

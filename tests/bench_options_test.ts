import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { median, timeInRounds } from "../bench/clock.ts";
import { glob } from "../bench/kernels.ts";
import { type Job, parseRequest } from "../bench/options.ts";
import { difference, digest, values } from "../bench/peers/protocol.ts";
import { permuted } from "../bench/peers/layout.ts";
import { COMMON, detail, type Report, type Row, table, toJson } from "../bench/report.ts";

function job<G extends Job["group"]>(group: G, args: string): Extract<Job, { group: G }> {
  const { jobs } = parseRequest([group, ...args.split(" ").filter(Boolean)])!;
  equal(jobs.length, 1);
  equal(jobs[0].group, group);
  return jobs[0] as Extract<Job, { group: G }>;
}

Deno.test("parseRequest() gives each part its options when they are set", () => {
  const { options } = job("kernels", "--only conv* --from nano* --top 3 --rounds 2");
  deepEqual([options.only, options.from, options.top, options.rounds], ["conv*", "nano*", 3, 2]);
  const { models, parts } = job("model", "--config hiera_t,tiny --size 64,96 --part memory_encoder")
    .options;
  deepEqual(parts, ["memory encoder"]);
  deepEqual(models, [
    { config: "sam2.1_hiera_t", sizes: [64, 96] },
    { config: "tiny", sizes: [64, 96] },
  ]);
  const [tracking] =
    parseRequest("model --tracking --config tiny --objects 1,3 --cold".split(" "))!.jobs;
  deepEqual(tracking, {
    group: "tracking",
    options: {
      models: [{ config: "tiny", sizes: [256] }],
      ...{ objects: [1, 3], cold: true, rounds: 5 },
    },
  });
  const step = job("step", "--method fixmatch --size 32 --batch 2 --cold").options;
  const batches = { batch: 2, unlabelledBatch: 2 };
  deepEqual(step, { methods: ["fixmatch"], size: 32, ...batches, rounds: 7, cold: true });
  const peers = job("peers", "--models --config nano --without jax,ort").options;
  deepEqual([peers.models, peers.configs, peers.without], [true, ["nano"], ["jax", "ort"]]);
  const tune = job("tune", "--only *product* --top 2 --cpu-time --write").options;
  const chosen = { only: "*product*", from: "nano*", top: 2, rounds: 3 };
  deepEqual(tune, { ...chosen, cpuTime: true, write: true });
});

Deno.test("parseRequest() takes nano at 128 and hiera_t at 256 pixels when no model is named", () => {
  deepEqual(job("model", "").options.models, [
    { config: "nano", sizes: [128] },
    { config: "sam2.1_hiera_t", sizes: [256] },
  ]);
});

Deno.test("parseRequest() asks for kernels, model and step when no part is named", () => {
  const { jobs, json } = parseRequest(["--json", "x.json", "--rounds", "3"])!;
  deepEqual(jobs.map(({ group }) => group), ["kernels", "model", "step"]);
  ok(jobs.every(({ options }) => options.rounds === 3));
  equal(json, "x.json");
});

for (
  const [args, message] of [
    [["speed"], /no benchmark "speed"; the parts are kernels, model, step, peers, tune\./],
    [["model", "--config", "huge"], /some of .*nano/],
    [["model", "--size", "100"], /multiples of 32/],
    [["step", "--method", "magic"], /supervised, fixmatch, sss/],
    [["kernels", "--rounds", "0"], /whole number of at least 1/],
    [["peers", "--fast"], /bench peers --help/],
  ] as const
) {
  Deno.test(`parseRequest() fails with a sentence when given ${args.join(" ")}`, () => {
    throws(() => parseRequest(args), { name: "UserError", message });
  });
}

Deno.test("glob() matches whole texts when the pattern has stars and brackets", () => {
  const fits = glob("conv2d *[4,64,?,8]*");
  ok(fits("conv2d [4,64,8,8] stride 2"));
  ok(!fits("conv2d [4,64,16,8]"));
  ok(!glob("conv")("conv2d"));
});

const row: Row = {
  group: "kernels",
  name: "matmul",
  shape: "[1,2]",
  pass: "forward",
  ms: 1.23456,
  cpu_ms: 2,
  gflops: 12.34567,
  gbps: null,
  share: 0.5,
  schedule: "cpu",
  peers: { jax: 1.00001 },
  details: { dispatches: 123456, host_ms: 0.123456, note: "x" },
};

Deno.test("toJson() writes the agreed form when a report has rows", () => {
  const report: Report = { adapter: "a", date: "2026-01-01", load: [0, 1], rows: [row, row] };
  const text = toJson(report);
  const parsed = JSON.parse(text) as Report;
  deepEqual(Object.keys(parsed), ["adapter", "date", "load", "rows"]);
  deepEqual(parsed.rows[0], {
    ...row,
    ms: 1.235,
    gflops: 12.35,
    peers: { jax: 1 },
    details: { dispatches: 123456, host_ms: 0.1235, note: "x" },
  });
  equal(text.split("\n").filter((line) => line.includes('"matmul"')).length, 2);
  deepEqual(JSON.parse(toJson({ ...report, rows: [] })).rows, []);
});

Deno.test("table() leaves columns out when no row fills them", () => {
  const text = table([row], [...COMMON, detail("host", "host_ms"), detail("gone", "absent")]);
  const [head, line] = text.split("\n");
  ok(head.includes("rate") && head.includes("host") && !head.includes("gone"));
  ok(line.includes("12.35 GFLOP/s") && line.includes("50 %"));
});

Deno.test("timeInRounds() takes medians, fills the window and stops early when work is slow", async () => {
  const calls = { quick: [] as number[], slow: [] as number[] };
  const times = [100, 1, 5, 3, 4];
  const quick = {
    time: (runs: number) => {
      calls.quick.push(runs);
      return Promise.resolve({ ms: times.shift()!, cpuMs: 2 });
    },
  };
  const slow = {
    time: (runs: number) => {
      calls.slow.push(runs);
      return Promise.resolve({ ms: 5000, cpuMs: 1 });
    },
  };
  const [a, b] = await timeInRounds([quick, slow], { rounds: 3, windowMs: 1 });
  deepEqual(a, { first: { ms: 100, cpuMs: 2 }, steady: { ms: 3, cpuMs: 2 }, rounds: 3 });
  // One run to compile, and one that is timed.
  deepEqual([b.rounds, calls.slow], [1, [1, 1]]);
  calls.quick = [];
  times.splice(0, times.length, 4, 9, 10);
  const [{ steady }] = await timeInRounds([quick], { rounds: 1, windowMs: 40 });
  deepEqual([steady.ms, calls.quick], [10, [1, 1, 4]]);
  equal(median([3, 1, 2]), 2);
});

Deno.test("digest() tells results apart when one value in sixteen differs", () => {
  const data = values(1, 16);
  ok(data.every((v) => v >= -0.5 && v < 0.5) && new Set(data).size === 16);
  ok(values(2, 16).some((v, i) => v !== data[i]));
  equal(difference(digest(data), digest(data)), 0);
  ok(difference(digest(data), digest(data.map((v, i) => i === 3 ? v + 1 : v))) > 0.1);
});

Deno.test("permuted() moves dimensions when their order changes", () => {
  const { data, shape } = permuted([0, 1, 2, 3, 4, 5], [1, 2, 3], [2, 0, 1]);
  deepEqual([[...data], shape], [[0, 3, 1, 4, 2, 5], [3, 1, 2]]);
});

/** Timing of graphs: medians of interleaved rounds, several runs of a plan between two waits. */
import process from "node:process";
import { runtime, type Storage, submit, type Tensor } from "../engine/mod.ts";

/** One graph to time. */
export interface Case {
  readonly name: string;
  readonly shape: string;
  readonly pass: "forward" | "backward";
  readonly outputs: readonly Tensor[];
  /** Floating-point operations, or bytes moved for work that is bound by memory. */
  readonly work: number;
  readonly unit: "GFLOP/s" | "GB/s";
}

/** A timed case. */
export interface Timing extends Omit<Case, "outputs" | "work"> {
  readonly ms: number;
  /** CPU time of the process for one run, all threads. */
  readonly cpuMs: number;
  readonly rate: number;
  /** First run, with everything that is compiled for it. */
  readonly firstMs: number;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];

/** A wait costs a tick of about 10 ms on some drivers: enough runs between waits hide it. */
const WINDOW_MS = 150;

type Targets = (readonly [Tensor, Storage])[];

/** Runs a plan several times, its results always in the same memory, and waits for the last. */
async function timed(write: Targets, runs: number): Promise<{ ms: number; cpuMs: number }> {
  const { device: { gpu } } = await runtime();
  const start = performance.now();
  const cpu = process.cpuUsage();
  for (let i = 0; i < runs; i++) await submit({ write });
  await gpu.queue.onSubmittedWorkDone();
  const used = process.cpuUsage(cpu);
  return {
    ms: (performance.now() - start) / runs,
    cpuMs: (used.user + used.system) / 1000 / runs,
  };
}

/** Times all cases in turn, `rounds` times. */
export async function time(cases: readonly Case[], rounds = 5): Promise<Timing[]> {
  const rt = await runtime();
  const firsts: number[] = [];
  const runs: number[] = [];
  const targets = cases.map(({ outputs }): Targets =>
    outputs.map((t) => [t, { buffer: rt.createBuffer(t.size * 4), offset: 0 }])
  );
  for (const write of targets) {
    firsts.push((await timed(write, 1)).ms);
    const { ms } = await timed(write, 1);
    runs.push(Math.max(1, Math.min(50, Math.round(WINDOW_MS / ms))));
  }
  const samples = cases.map(() => [] as { ms: number; cpuMs: number }[]);
  for (let round = 0; round < rounds; round++) {
    for (const [i, write] of targets.entries()) samples[i].push(await timed(write, runs[i]));
  }
  for (const [, { buffer }] of targets.flat()) rt.destroyBuffer(buffer);
  return cases.map(({ name, shape, pass, work, unit }, i) => {
    const ms = median(samples[i].map((s) => s.ms));
    const cpuMs = median(samples[i].map((s) => s.cpuMs));
    return { name, shape, pass, unit, ms, cpuMs, rate: work / ms / 1e6, firstMs: firsts[i] };
  });
}

/** Timing: medians of interleaved rounds, several runs of a piece of work between two waits. */
import process from "node:process";
import { runtime } from "../engine/mod.ts";

/** Time of one run of a piece of work. */
export interface Sample {
  /** Wall time in milliseconds. */
  readonly ms: number;
  /** CPU time of the process that did it, all threads, in milliseconds. */
  readonly cpuMs: number;
}

/** Work that can be timed. */
export interface Timed {
  /** Runs it `runs` times, waits for the last, and returns the mean time of a run. */
  time(runs: number): Promise<Sample>;
}

/** What {@link timeInRounds} finds for one piece of work. */
export interface Timing {
  /** The first run, with everything that is compiled or allocated for it. */
  readonly first: Sample;
  /** Medians of the later rounds. */
  readonly steady: Sample;
  /** Rounds that were timed. */
  readonly rounds: number;
}

/** How long and how often to measure. */
export interface RoundOptions {
  /** Rounds at most. */
  readonly rounds: number;
  /** Wall time that the runs between two waits should take: a wait costs a tick of some 10 ms. */
  readonly windowMs?: number;
  /** Wall time after which slow work is left out of further rounds; it gets one at least. */
  readonly budgetMs?: number;
}

const MOST_RUNS = 4096;

/** The middle of `values`; of an even number the upper one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Component-wise median. */
export function medianSample(samples: readonly Sample[]): Sample {
  return {
    ms: median(samples.map((s) => s.ms)),
    cpuMs: median(samples.map((s) => s.cpuMs)),
  };
}

/** Wall and CPU time of this process while `work` runs. */
export async function stopwatch(work: () => Promise<unknown>): Promise<Sample> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  await work();
  const used = process.cpuUsage(cpu);
  return { ms: performance.now() - start, cpuMs: (used.user + used.system) / 1000 };
}

/** Waits until the adapter has done all that was submitted. */
export async function settle(): Promise<void> {
  await (await runtime()).device.gpu.queue.onSubmittedWorkDone();
}

/** Work on the engine's device: `submit` submits one run. */
export function submitted(submit: () => unknown): Timed {
  return {
    async time(runs) {
      const total = await stopwatch(async () => {
        for (let i = 0; i < runs; i++) await submit();
        await settle();
      });
      return { ms: total.ms / runs, cpuMs: total.cpuMs / runs };
    },
  };
}

/**
 * How many runs fill the window, and the time of one where these were as many. The time of one run of
 * quick work would be mostly that of the wait.
 */
async function runsFor(
  work: Timed,
  windowMs: number,
): Promise<{ runs: number; sample: Sample | undefined }> {
  for (let tried = 1;; tried *= 4) {
    const sample = await work.time(tried);
    if (sample.ms * tried >= windowMs / 2 || tried >= MOST_RUNS) {
      const runs = Math.max(1, Math.min(MOST_RUNS, Math.round(windowMs / sample.ms)));
      return { runs, sample: runs === tried ? sample : undefined };
    }
  }
}

/**
 * Times all pieces of work in turn, round by round, so that a machine that gets slower or busier does
 * so for all of them. Work that takes longer than the window runs once before it is timed, then once
 * each round.
 */
export async function timeInRounds(
  works: readonly Timed[],
  { rounds, windowMs = 200, budgetMs = 4000 }: RoundOptions,
): Promise<Timing[]> {
  const states = works.map(() => ({ runs: 1, spent: 0, samples: [] as Sample[] }));
  const firsts: Sample[] = [];
  const take = (state: typeof states[number], sample: Sample) => {
    state.spent += sample.ms * state.runs;
    state.samples.push(sample);
  };
  for (const [i, work] of works.entries()) {
    firsts.push(await work.time(1));
    const { runs, sample } = await runsFor(work, windowMs);
    states[i].runs = runs;
    if (sample) take(states[i], sample);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, work] of works.entries()) {
      const state = states[i];
      if (state.samples.length > round || state.spent > budgetMs) continue;
      take(state, await work.time(state.runs));
    }
  }
  return states.map(({ samples }, i) => ({
    first: firsts[i],
    steady: medianSample(samples),
    rounds: samples.length,
  }));
}

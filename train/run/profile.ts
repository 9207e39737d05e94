/** `--profile`: one step of a run as a Chrome trace. */
import { dirname } from "node:path";
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import { type Runtime, runtime } from "../../engine/mod.ts";
import { type Trace, Tracer } from "../../engine/trace.ts";
import type { StepReport, Trainer } from "../trainer.ts";
import { makeFolder } from "./run_dir.ts";

/** Traces that are thrown away at most, in the search of a step like one that was timed untraced. */
const MAX_TRIES = 6;

/** A step and what it took. */
interface Timed {
  readonly step: number;
  readonly ms: number;
  readonly kernels: number;
  /** Pipelines compiled: compiling takes longer than the step itself. */
  readonly compiled: number;
}

interface Traced extends Timed {
  readonly trace: Trace;
}

/**
 * Traces a step that compiles nothing and has as many kernels as one that ran untraced, so that both
 * times can be compared; where six traced steps bring none, or the run ends, the best one so far.
 */
export class StepProfiler {
  private readonly normal: Timed[] = [];
  private best: Traced | undefined;
  private tries = 0;
  private justTraced = false;
  private written = false;

  private constructor(private readonly path: string, private readonly runtime: Runtime) {}

  /**
   * A profiler that writes to `path`; makes its folder.
   *
   * @throws {UserError} where that cannot be made.
   */
  static async create(path: string): Promise<StepProfiler> {
    await makeFolder(dirname(path));
    return new StepProfiler(path, await runtime());
  }

  /**
   * Runs a step, traced where it is time for that.
   *
   * @param last whether no other step follows.
   * @returns its report, and a sentence about the file where it has been written.
   */
  async step(
    trainer: Pick<Trainer, "step">,
    last: boolean,
  ): Promise<{ report: StepReport; written?: string }> {
    if (this.written) return { report: await trainer.step() };
    const wanted = this.normal.length > 0 && !this.justTraced;
    this.justTraced = wanted || (last && this.best === undefined);
    const report = this.justTraced ? await this.traced(trainer) : await this.untraced(trainer);
    const found = this.best && this.best.compiled === 0 && this.likeOf(this.best) !== undefined;
    if (!this.best || !(found || last || this.tries >= MAX_TRIES)) return { report };
    return { report, written: await this.write(this.best) };
  }

  private async untraced(trainer: Pick<Trainer, "step">): Promise<StepReport> {
    const { report, timed } = await this.timed(trainer);
    if (timed.compiled === 0) this.normal.push(timed);
    return report;
  }

  private async traced(trainer: Pick<Trainer, "step">): Promise<StepReport> {
    const tracer = Tracer.start(this.runtime);
    try {
      const start = performance.now();
      const { report, timed } = await this.timed(trainer);
      tracer.span(`step ${report.step}`, start, start + report.milliseconds.total);
      const traced = { ...timed, trace: await tracer.finish() };
      this.tries++;
      if (!this.best || traced.compiled <= this.best.compiled) this.best = traced;
      return report;
    } finally {
      this.runtime.watcher = undefined;
    }
  }

  private async timed(
    trainer: Pick<Trainer, "step">,
  ): Promise<{ report: StepReport; timed: Timed }> {
    const { runtime } = this;
    const [dispatches, pipelines] = [runtime.counters.dispatches, runtime.pipelineCount];
    const report = await trainer.step();
    const timed = {
      step: report.step,
      ms: report.milliseconds.total,
      kernels: runtime.counters.dispatches - dispatches,
      compiled: runtime.pipelineCount - pipelines,
    };
    return { report, timed };
  }

  /** The latest normal step with as many kernels. */
  private likeOf({ kernels }: Timed): Timed | undefined {
    return this.normal.findLast((step) => step.kernels === kernels);
  }

  private async write(traced: Traced): Promise<string> {
    const { trace, step, ms, kernels, compiled } = traced;
    const normal = this.likeOf(traced) ?? this.normal.at(-1);
    const metadata = {
      ...trace.metadata,
      profiled_step: { step, ms, kernels, compiled },
      normal_step: normal ?? null,
    };
    const text = JSON.stringify({ ...trace, metadata });
    await writeFileAtomically(this.path, [new TextEncoder().encode(text)]);
    this.written = true;
    const beside = normal
      ? `; step ${normal.step}, untraced, took ${normal.ms.toFixed(0)} ms with ${normal.kernels}`
      : "; no step before it ran untraced without compiling kernels";
    return `${this.path} shows step ${step}: ${ms.toFixed(0)} ms with ${kernels} kernels${beside}.`;
  }
}

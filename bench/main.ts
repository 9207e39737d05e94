/** `deno task bench`: how fast kernels and training steps run on this adapter. */
import { device } from "../engine/mod.ts";
import { writeFileAtomically } from "../engine/atomic_file.ts";
import { cli, parseOptions, wholeNumber } from "../train/commands/cli.ts";
import { kernelCases } from "./kernels.ts";
import { type StepTiming, timeSteps } from "./step.ts";
import { time, type Timing } from "./timing.ts";

interface Flags {
  readonly json?: string;
  readonly only?: string;
  readonly rounds: number;
  readonly steps: number;
}

function printKernels(rows: readonly Timing[]): void {
  const line = (cells: readonly string[]) => {
    const widths = [12, 44, 9, 11, 11, 20, 11];
    console.log(cells.map((c, i) => i < 3 ? c.padEnd(widths[i]) : c.padStart(widths[i])).join(" "));
  };
  line(["kernel", "shapes", "pass", "ms", "CPU ms", "rate", "first ms"]);
  for (const { name, shape, pass, ms, cpuMs, rate, unit, firstMs } of rows) {
    const cells = [
      ms.toFixed(2),
      cpuMs.toFixed(2),
      `${rate.toFixed(1)} ${unit}`,
      firstMs.toFixed(0),
    ];
    line([name, shape, pass, ...cells]);
  }
}

function printSteps(rows: readonly StepTiming[]): void {
  for (const row of rows) {
    const parts = Object.entries(row.milliseconds).map(([part, ms]) =>
      `${part} ${ms.toFixed(1)} ms`
    );
    const memory = `${(row.arenaBytes / 1e6).toFixed(1)} MB of intermediates`;
    console.log(`${row.name}: ${parts.join(", ")}; ${row.dispatches} dispatches, ${memory}`);
  }
}

/** Runs the benchmarks; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const program = cli("bench", "Times kernels, or the parts of a training step.")
    .argument("[what]", '"kernels", "step" or, without, both')
    .option("--only <text>", "only kernels whose name contains the text")
    .option("--rounds <n>", "rounds of kernels; medians are shown", wholeNumber(1), 5)
    .option("--steps <n>", "timed training steps", wholeNumber(1), 10)
    .option("--json <file>", "also write the figures to a file");
  const flags = parseOptions<Flags>(program, args);
  if (!flags) return 0;
  const what = program.args[0];
  const { name } = await device();
  console.log(`adapter: ${name}`);
  const cases = what === "step"
    ? []
    : kernelCases().filter((c) => c.name.includes(flags.only ?? ""));
  const rows = await time(cases, flags.rounds);
  if (rows.length > 0) printKernels(rows);
  const steps = what === "kernels" ? [] : await timeSteps(flags.steps);
  printSteps(steps);
  if (flags.json) {
    const report = { adapter: name, date: new Date().toISOString(), rows, steps };
    const text = new TextEncoder().encode(JSON.stringify(report, null, 1) + "\n");
    await writeFileAtomically(flags.json, [text]);
  }
  return 0;
}

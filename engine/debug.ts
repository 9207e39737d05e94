/** What `DEBUG=1..4` tells of the plans of a process, on standard error. */
import type { Kernel } from "../shaders/kernel.ts";
import type { Ref } from "./compile/bindings.ts";
import type { Plan, Tenancy } from "./compile/plan.ts";
import { variable } from "./environment.ts";

/**
 * How much is told. 1: a line for each plan; 2: its kernels in order, too; 3: their sources, too;
 * 4: what lies in the arena and when, too.
 */
export type DebugLevel = 0 | 1 | 2 | 3 | 4;

let level: DebugLevel | undefined;

/** The level that the environment's `DEBUG` asks for, read once; other words than numbers mean 1. */
export function debugLevel(): DebugLevel {
  return level ??= levelOf(variable("DEBUG"));
}

/** The level that a value of `DEBUG` asks for. */
export function levelOf(value: string | undefined): DebugLevel {
  if (!value) return 0;
  const number = Number(value);
  if (!Number.isFinite(number)) return 1;
  return Math.min(4, Math.max(0, Math.trunc(number))) as DebugLevel;
}

/**
 * A plan in words.
 *
 * @param name tells plans of a process apart.
 * @param nodes of the graph that was planned.
 */
export function explainPlan(name: string, plan: Plan, nodes: number, level: DebugLevel): string {
  const lines: string[] = [];
  if (level >= 1) lines.push(summary(name, plan, nodes));
  if (level >= 2) {
    lines.push(
      ...plan.steps.map(({ kernel, bindings }, i) =>
        `  ${i} ${kernel.label}, grid ${kernel.grid.join("x")}, ${bindings.map(window).join(", ")}`
      ),
    );
  }
  if (level >= 3) lines.push(...sources(plan));
  if (level >= 4) lines.push(...plan.tenancies.map(tenancy));
  return lines.join("\n");
}

function summary(name: string, { steps, memory }: Plan, nodes: number): string {
  const distinct = new Set(steps.map(({ kernel }) => kernel.source)).size;
  return `${name}: ${nodes} nodes, ${steps.length} kernels, ${distinct} distinct sources, ` +
    `arena ${memory.arena} bytes, uploads ${memory.uploads} bytes, peak ${memory.peak} bytes`;
}

/** A binding of a kernel: where it lies and how long it is. */
function window(ref: Ref): string {
  const outside = ref.kind === "leaf" ? ref.leaf : ref.kind === "target" ? ref.target : "";
  const at = outside === "" || ref.offset > 0 ? `@${ref.offset}` : "";
  return `${ref.kind}${outside}${at}:${ref.bytes}`;
}

/** Each source once, headed by the kernels that run it. */
function sources({ steps }: Plan): string[] {
  const users = new Map<string, Kernel[]>();
  for (const { kernel } of steps) {
    const known = users.get(kernel.source);
    if (known) known.push(kernel);
    else users.set(kernel.source, [kernel]);
  }
  return [...users].flatMap(([source, kernels]) => {
    const labels = new Set(kernels.map(({ label }) => label));
    return [`  source of ${[...labels].join("; ")}`, source.trimEnd()];
  });
}

function tenancy({ name, offset, bytes, first, last }: Tenancy): string {
  return `  arena @${offset}, ${bytes} bytes, kernels ${first} to ${last}: ${name}`;
}

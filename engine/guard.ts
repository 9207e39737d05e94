/** Error scopes around what plans ask of the adapter: its complaints, named by op and shape. */
import type { Plan } from "./compile/plan.ts";
import { MemoryError, sizeText } from "./memory.ts";
import type { Runtime } from "./runtime.ts";

/** Work that the adapter may object to. */
export interface Guarded<T> {
  work(): T;
  /** Label of the kernel that the adapter refuses, where that can be found out. */
  refused?(): Promise<string | undefined>;
  /** Takes back what was done before the adapter objected. */
  undo?(done: T | undefined): void;
}

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

function attempt<T>(work: () => T): Outcome<T> {
  try {
    return { value: work() };
  } catch (error) {
    return { error };
  }
}

/**
 * Does a part of what running a plan takes.
 *
 * @throws {MemoryError} where the adapter has no memory left for it.
 * @throws {Error} where the adapter finds it invalid: a defect of a kernel, or of its driver.
 */
export async function guarded<T>(rt: Runtime, plan: Plan, guarded: Guarded<T>): Promise<T> {
  const { gpu } = rt.device;
  const pipelines = rt.pipelineCount;
  gpu.pushErrorScope("validation");
  gpu.pushErrorScope("out-of-memory");
  const outcome = attempt(() => guarded.work());
  // Both before any wait, in which other work may open scopes of its own.
  const scopes = [gpu.popErrorScope(), gpu.popErrorScope()];
  const [exhausted, invalid] = await rt.explained(Promise.all(scopes));
  if ("value" in outcome && !exhausted && !invalid) return outcome.value;
  const label = invalid && !exhausted ? await guarded.refused?.() : undefined;
  rt.forgetPipelines(pipelines);
  guarded.undo?.("value" in outcome ? outcome.value : undefined);
  if (exhausted) throw noMemory(plan, exhausted.message);
  if (invalid) throw refusal(label, invalid.message);
  throw (outcome as { error: unknown }).error;
}

function noMemory({ memory, tenancies }: Plan, message: string): MemoryError {
  const largest = tenancies.reduce(
    (a, b) => b.bytes > (a?.bytes ?? 0) ? b : a,
    tenancies.at(0),
  );
  const values = largest ? `, ${largest.name} with ${sizeText(largest.bytes)} among it` : "";
  return new MemoryError(
    `The adapter has no memory left for work that needs ${sizeText(memory.peak)}${values}: ` +
      sentence(message),
    memory.peak,
    0,
  );
}

function refusal(label: string | undefined, message: string): Error {
  const named = label === undefined || message.includes(label) ? "" : `${label}: `;
  return new Error(`The adapter refuses a kernel. ${named}${message.trim()}`);
}

const sentence = (message: string) => message.trim().replace(/\.?$/, ".");

/** Evaluation: builds the plan of what is asked for, or finds it in the cache, and runs it. */
import { canonicalise, type Graph, sourceOf } from "./compile/graph.ts";
import { makePlan, type Plan } from "./compile/plan.ts";
import { compileAhead } from "./compile_ahead.ts";
import { debugLevel, explainPlan } from "./debug.ts";
import { type AdapterProfile, device, profileFor, requireF16 } from "./device.ts";
import type { TypedArray } from "./dtype.ts";
import { Executable } from "./executable.ts";
import { guarded } from "./guard.ts";
import type { PlanMemory } from "./memory.ts";
import { PlanCache } from "./plan_cache.ts";
import { heavyRules } from "./primitives.ts";
import { requireMemoryOf, requireOwnBuffer } from "./request_memory.ts";
import { Runtime } from "./runtime.ts";
import { bytesOf, copyOf, isStored, lateWrites } from "./overlap.ts";
import type { Storage, Tensor } from "./tensor.ts";
import { Turns } from "./turns.ts";

let opened: Promise<Runtime> | undefined;
let forced: string | undefined;
let fusion = true;
const plans = new PlanCache();
/** Plans that were made ahead of their first run, and how many of their dispatches have pipelines. */
const ahead = new Map<string, { readonly plan: Plan; ready: number }>();
/** Pipelines of such plans that are made after a submission: some 3 ms each. */
const PIPELINES_AT_ONCE = 64;
/**
 * Requests begin one after another: what one does between two waits, such as replacing the arena or
 * forgetting a plan, would take from another what it is about to use.
 */
const turns = new Turns();
/** Plans made so far, those that are no longer kept included. */
let made = 0;

/** The runtime of the process-wide device. */
export function runtime(): Promise<Runtime> {
  return opened ??= device().then((d) => new Runtime(d));
}

/**
 * Forces the kernel schedules of an adapter class (`cpu`, `gpu`, `cpu-nosubgroup`, `gpu-nosubgroup`)
 * on whatever adapter runs them; `undefined` goes back to the adapter's own.
 */
export function useSchedule(name: string | undefined): void {
  forced = name;
}

/**
 * Whether elementwise work and movement become parts of other kernels, as they do unless this says
 * otherwise. Without it each op runs by itself, which shows what fusion saves and whether it is right.
 */
export function useFusion(on: boolean): void {
  fusion = on;
}

/** The profile whose kernel schedules are in force. */
export async function activeProfile(): Promise<AdapterProfile> {
  return profileFor((await runtime()).device, forced);
}

/** What to compute. All parts of a request run as one plan. */
export interface Request {
  /** Tensors whose values are returned. */
  readonly read?: readonly Tensor[];
  /**
   * Tensors whose values are written to GPU memory that exists. What the request reads there, it reads
   * as it was before.
   */
  readonly write?: readonly (readonly [Tensor, Storage])[];
  /** Tensors whose values stay on the GPU: each gets memory of its own and becomes a leaf. */
  readonly keep?: readonly Tensor[];
}

/** A graph that is ready to run. */
interface Prepared {
  /** Its place among the plans. */
  readonly key: string;
  readonly executable: Executable;
  readonly leaves: readonly Tensor[];
  /** Where each of them came from. */
  readonly sources: string;
  /** How its plan was made. */
  readonly mode: string;
}

/** How plans are made at present. */
const mode = () => `${forced ?? ""}|${fusion}`;

/** A graph to compute, of whose targets the first are read and the others written. */
interface Job {
  readonly graph: Graph;
  readonly reads: number;
  /** Writes to memory that the graph reads. */
  readonly late: readonly number[];
}

const sourcesOf = (leaves: readonly Tensor[]) => leaves.map(sourceOf).join("");

const keyOf = ({ graph, reads, late }: Job) => `${mode()}|${reads}|${late}|${graph.fingerprint}`;

function jobOf(
  read: readonly Tensor[],
  write: NonNullable<Request["write"]>,
  fresh: readonly Tensor[] = [],
): Job {
  const values = write.map(([t]) => isStored(t, write) ? copyOf(t) : t);
  const graph = canonicalise([...read, ...values, ...fresh]);
  return { graph, reads: read.length, late: lateWrites(graph.leaves, write) };
}

/** Tensors that have no memory yet, once each. */
const unkept = (keep: readonly Tensor[]) => [...new Set(keep)].filter((t) => !t.storage);

const totalBytes = (tensors: readonly Tensor[]) => tensors.reduce((sum, t) => sum + bytesOf(t), 0);

/** The plan of a graph that has none yet. */
function planOf(rt: Runtime, { graph, reads, late }: Job): Plan {
  const profile = profileFor(rt.device, forced);
  if (graph.nodes.some(({ dtype }) => dtype === "f16")) requireF16(rt.device);
  const plan = makePlan({
    ...{ graph, reads, late, profile, rules: heavyRules, fusion },
    alignment: rt.device.offsetAlignment,
    maxBufferBytes: rt.limits.bufferBytes,
  });
  made++;
  const level = debugLevel();
  if (level > 0) console.error(explainPlan(`plan ${made}`, plan, graph.nodes.length, level));
  return plan;
}

async function executableOf(rt: Runtime, job: Job, kept: number): Promise<Prepared> {
  const { leaves } = job.graph;
  const key = keyOf(job);
  const ready = { key, leaves, sources: sourcesOf(leaves), mode: mode() };
  const found = plans.recent(key);
  if (found) return { ...ready, executable: found };
  const plan = ahead.get(key)?.plan ?? planOf(rt, job);
  ahead.delete(key);
  rt.requireRoom(plan, kept);
  const executable = await guarded(rt, plan, {
    work: () => new Executable(rt, plan),
    undo: (made) => made?.destroy(),
  });
  plans.add(key, executable);
  return { ...ready, executable };
}

/**
 * Plans a computation before its first run, and makes room for it; its kernels are not compiled yet.
 *
 * @returns the bytes that it needs.
 * @throws {MemoryError} where there is not enough memory.
 */
export function reserve(request: Request): Promise<PlanMemory> {
  return turns.take(() => reserved(request));
}

async function reserved({ read = [], write = [], keep = [] }: Request): Promise<PlanMemory> {
  const rt = await runtime();
  const fresh = unkept(keep);
  const job = jobOf(read, write, fresh);
  const key = keyOf(job);
  const known = plans.peek(key)?.plan ?? ahead.get(key)?.plan;
  const plan = known ?? planOf(rt, job);
  if (!known) ahead.set(key, { plan, ready: 0 });
  rt.requireRoom(plan, totalBytes(fresh));
  await guarded(rt, plan, { work: () => rt.arenaOf(plan) });
  return plan.memory;
}

/** Makes some of the pipelines of plans that were made ahead, while the adapter is at work. */
async function makePipelinesAhead(rt: Runtime): Promise<void> {
  const most = rt.pipelineCount + PIPELINES_AT_ONCE;
  for (const made of ahead.values()) {
    const { plan } = made;
    const work = () => {
      for (; made.ready < plan.steps.length && rt.pipelineCount < most; made.ready++) {
        const { kernel, bindings } = plan.steps[made.ready];
        rt.pipelineOf(kernel, bindings.length);
      }
    };
    // What the adapter refuses is forgotten, and told when the plan runs.
    if (made.ready < plan.steps.length) await guarded(rt, plan, { work }).catch(() => undefined);
  }
}

/** Requests that keep nothing, with what they were last run by. */
const prepared = new WeakMap<Request, Prepared>();

/**
 * Starts a computation; the returned function waits for the values of `read`, and gives the same arrays
 * each time. A request object that is submitted again runs without another look at its graph, on the
 * values that its leaves have by then.
 *
 * @throws {RangeError} where a leaf has no values, and where memory has been freed or is too small.
 */
export function submit(request: Request): Promise<() => Promise<TypedArray[]>> {
  return turns.take(() => submitted(request));
}

async function submitted(request: Request): Promise<() => Promise<TypedArray[]>> {
  const rt = await runtime();
  if (rt.failure) throw rt.failure;
  const { read = [], write = [], keep = [] } = request;
  const known = prepared.get(request);
  // With leaves that have been freed or kept since, it is another graph.
  const same = known?.mode === mode() && known.sources === sourcesOf(known.leaves);
  if (same && plans.recent(known.key) === known.executable) {
    requireMemoryOf(rt, known.leaves, write);
    return known.executable.run(known.leaves, write.map(([, s]) => s), read);
  }
  for (const t of keep) if (t.resident && !t.storage) rt.makeResident(t);
  const fresh = unkept(keep);
  if (read.length + write.length + fresh.length === 0) return () => Promise.resolve([]);
  const job = jobOf(read, write, fresh);
  requireMemoryOf(rt, job.graph.leaves, write);
  const found = await executableOf(rt, job, totalBytes(fresh));
  if (keep.length === 0) prepared.set(request, found);
  const { executable, leaves, key } = found;
  const kept: Storage[] = [];
  const start = () => {
    for (const t of fresh) kept.push({ buffer: rt.createBuffer(bytesOf(t)), offset: 0 });
    return executable.run(leaves, [...write.map(([, s]) => s), ...kept], read);
  };
  // Memory for results may be refused however often the plan has run.
  const certain = executable.proven && fresh.length === 0;
  const finish = certain ? start() : await guarded(rt, executable.plan, {
    work: start,
    refused: () => executable.refused(),
    undo: () => {
      for (const { buffer } of kept) rt.destroyBuffer(buffer);
      plans.delete(key);
    },
  });
  if (!executable.proven) await compileAhead(rt, executable.fresh);
  executable.proven = true;
  fresh.forEach((t, i) => t.storage = kept[i]);
  await makePipelinesAhead(rt);
  return finish;
}

/** Forgets the plans made so far, and frees what only they use: later runs make them anew. */
export function forgetPlans(): Promise<void> {
  return turns.take(() => {
    plans.clear();
    ahead.clear();
  });
}

/** Computes tensors; their values stay in GPU memory until {@link dispose}. */
export async function evaluate(tensors: readonly Tensor[]): Promise<void> {
  await submit({ keep: tensors });
}

/** Computes tensors and returns their values, row-major. */
export async function readAll(tensors: readonly Tensor[]): Promise<TypedArray[]> {
  return await (await submit({ read: tensors }))();
}

/** Computes a tensor and returns its values, row-major. */
export async function read(t: Tensor): Promise<TypedArray> {
  return (await readAll([t]))[0];
}

/**
 * Frees the memory of kept tensors; they are computed anew if asked for again.
 *
 * @throws {RangeError} where one of them is a part of a larger buffer, such as a parameter; then nothing
 * is freed.
 */
export function dispose(tensors: readonly Tensor[]): Promise<void> {
  return turns.take(async () => {
    const rt = await runtime();
    tensors.forEach(requireOwnBuffer);
    for (const t of tensors) {
      if (!t.storage) continue;
      rt.destroyBuffer(t.storage.buffer);
      t.storage = undefined;
    }
  });
}

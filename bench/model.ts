/** `bench model`: the parts of SAM-2, forward and with all gradients. */
import { gradients, runtime, type Storage, submit, type Tensor } from "../engine/mod.ts";
import { liveBytes } from "../engine/compile/arena.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { Parameter } from "../engine/nn/mod.ts";
import { median, submitted, type Timed, timeInRounds } from "./clock.ts";
import { type Inventory, takeInventory } from "./inventory.ts";
import { type Part, type PartName, partsOf } from "./parts.ts";
import { type Peaks, peakWorks } from "./peak.ts";
import { type Row, timedRow } from "./report.ts";

/** What to measure. */
export interface ModelOptions {
  /** Configurations, each with the sides of its images. */
  readonly models: readonly { readonly config: string; readonly sizes: readonly number[] }[];
  readonly parts: readonly PartName[];
  readonly batch: number;
  readonly rounds: number;
  /** Whether gradients compute values inside the parts anew. */
  readonly gradientCheckpointing: boolean;
}

/** A part that is ready to run, and how long the host took over each run. */
interface Ready {
  readonly part: Part;
  readonly pass: Row["pass"];
  readonly work: Timed;
  readonly hostMs: number[];
  readonly inventory: Inventory;
  readonly gpuBytes: number;
}

type Target = readonly [Tensor, Storage];

/** Bytes that a plan needs: intermediates, uploads, leaves on the GPU and targets. */
function bytesOf({ plan, leaves }: Inventory, targets: readonly Tensor[]): number {
  const resident = leaves.filter((leaf) => leaf.storage || leaf.resident);
  return [...resident, ...targets].reduce(
    (sum, t) => sum + 4 * t.size,
    plan.arenaBytes + plan.uploadBytes,
  );
}

/** Both passes of a part, with memory for its parameters, their gradients and its results. */
async function prepare(part: Part): Promise<{ ready: Ready[]; free: () => void }> {
  const rt = await runtime();
  const profile = await activeProfile();
  const take = (forward: readonly Tensor[], backward: readonly Tensor[]) =>
    takeInventory({ name: part.name, forward, backward }, profile, rt.device.offsetAlignment);
  const { leaves } = take(part.forward, []);
  const named = part.model.namedParameters().filter(([, p]) => leaves.includes(p));
  const flat = await FlatParameters.create(named);
  const own: GPUBuffer[] = [];
  const store = (t: Tensor): Target => {
    own.push(rt.createBuffer(4 * t.size));
    return [t, { buffer: own[own.length - 1], offset: 0 }];
  };
  const outputs = part.forward.map(store);
  const [lossStorage] = [store(part.backward[0])].map(([, storage]) => storage);
  const builders: Record<string, () => readonly Target[]> = {
    "forward": () => part.build().forward.map((t, i): Target => [t, outputs[i][1]]),
    "forward+backward": () => {
      const { loss } = part.build();
      const grads = gradients(loss, flat.trainable);
      return [[loss, lossStorage], ...flat.gradientTargets(grads)];
    },
  };
  const ready = Object.entries(builders).map(([pass, build]): Ready => {
    const hostMs: number[] = [];
    const work = submitted(async () => {
      const start = performance.now();
      await submit({ write: build() });
      hostMs.push(performance.now() - start);
    });
    const both = pass !== "forward";
    const targets = build().map(([t]) => t);
    const inventory = both ? take([targets[0]], targets.slice(1)) : take(targets, []);
    return { part, pass, work, hostMs, inventory, gpuBytes: bytesOf(inventory, targets) };
  });
  const free = () => {
    flat.destroy();
    own.forEach((buffer) => rt.destroyBuffer(buffer));
    for (const leaf of leaves) {
      if (leaf instanceof Parameter || !leaf.resident || !leaf.storage) continue;
      rt.destroyBuffer(leaf.storage.buffer);
      leaf.storage = undefined;
    }
  };
  return { ready, free };
}

/** Measured parts and the adapter's peaks. */
export interface ModelRows {
  readonly rows: readonly Row[];
  readonly peaks: Peaks;
}

/** Measures the parts of one configuration at one size, all in the same rounds. */
async function measure(parts: readonly Part[], rounds: number): Promise<ModelRows> {
  const rt = await runtime();
  const peak = peakWorks(rt, await activeProfile());
  const prepared = [];
  for (const part of parts) prepared.push(await prepare(part));
  const all = prepared.flatMap(({ ready }) => ready);
  const timings = await timeInRounds([...peak.works, ...all.map((r) => r.work)], { rounds });
  const peaks = peak.peaks(timings.slice(0, 2).map((t) => t.steady));
  const rows = all.map((ready, i): Row => {
    const { part, pass, inventory, gpuBytes } = ready;
    const { first, steady, rounds } = timings[i + 2];
    const gflops = inventory.flops / steady.ms / 1e6;
    return {
      ...timedRow({ group: "model", name: part.name, shape: part.shape, pass }, steady),
      gflops,
      share: gflops / peaks.gflops,
      details: {
        gpu_bytes: gpuBytes,
        arena_bytes: inventory.plan.arenaBytes,
        arena_over_live: inventory.plan.arenaBytes / liveBytes(inventory.plan.tenancies),
        dispatches: inventory.plan.steps.length,
        submits: 1,
        kernels: inventory.kernels,
        host_ms: median(ready.hostMs.slice(1)),
        first_ms: first.ms,
        rounds,
      },
    };
  });
  peak.destroy();
  for (const { free } of prepared) free();
  if (rt.failure) throw rt.failure;
  return { rows, peaks };
}

/** Measures the parts of all configurations and sizes, one after the other. */
export async function benchModel(
  { models, parts, batch, rounds, gradientCheckpointing }: ModelOptions,
): Promise<ModelRows> {
  const rows: Row[] = [];
  let peaks: Peaks = { gflops: 0, gbps: 0 };
  for (const { config, sizes } of models) {
    for (const size of sizes) {
      const chosen = partsOf(config, size, batch, parts, gradientCheckpointing);
      const found = await measure(chosen, rounds);
      rows.push(...found.rows);
      peaks = found.peaks;
    }
  }
  return { rows, peaks };
}

/** `bench tune`: which tiles compute the products and convolutions of real plans fastest. */
import {
  type AdapterProfile,
  type Runtime,
  runtime,
  type TileChoices,
  UserError,
} from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { saveTiles, type Tiles } from "../engine/tile_cache.ts";
import { type Sample, timeInRounds, type Timing } from "./clock.ts";
import { takeInventory, type Work } from "./inventory.ts";
import { type Candidate, candidates, glob, placer } from "./kernels.ts";
import { SharedMemory } from "./replay.ts";
import { type Row, timedRow } from "./report.ts";

/** Which shapes to measure, how long, and where the winners go. */
export interface TuneOptions {
  /** Pattern for the class of the shape, the name of the op, or name, shape and pass. */
  readonly only?: string;
  /** Pattern for the names of the workloads whose plans are searched. */
  readonly from: string;
  /** Classes of shapes at most, those with the most operations first; 0 for all. */
  readonly top: number;
  readonly rounds: number;
  /** Whether tiles are compared by CPU time, which other work on the machine disturbs less. */
  readonly cpuTime: boolean;
  /** Whether winners are kept for later processes. */
  readonly write: boolean;
}

/** Time saved below which two tiles are taken as equally fast. */
const LEAST_GAIN = 0.05;

/** Runs over which a tile must save what its kernel takes to compile. */
const RUNS = 1000;

/** A choice that a kernel left to whoever measures. */
interface Asked {
  readonly shapeClass: string;
  readonly tiles: readonly string[];
}

/** Answers with one tile of each class, and notes the classes by the label of the work at hand. */
export class Chooser implements TileChoices {
  readonly asked = new Map<string, Asked>();

  /** @param answer the tile of a class; `undefined` leaves the choice as it is. */
  constructor(private readonly answer: (asked: Asked) => string | undefined) {}

  /** @see TileChoices */
  tileOf(shapeClass: string, tiles: readonly string[], label: string): string | undefined {
    const asked = { shapeClass, tiles };
    this.asked.set(label, asked);
    return this.answer(asked);
  }
}

/** A work with one of its tiles. */
interface Variant {
  readonly tile: string;
  readonly work: Work;
}

/** A class of shapes. */
interface Case {
  readonly shapeClass: string;
  /** Its work with the most operations, and the tile that it has without the measurement. */
  readonly work: Work;
  readonly now: string;
  /** That work with each tile. */
  readonly variants: readonly Variant[];
  /** Operations of all works of the class. */
  readonly flops: number;
}

/** The class and the tile of a work, by the labels of its kernels; `undefined` where it has no choice. */
function choiceOf({ steps }: Work, asked: ReadonlyMap<string, Asked>, kind: string) {
  for (const { kernel: { label } } of steps) {
    const [what, tile] = label.split(` ${kind} `);
    const found = asked.get(what);
    if (found?.tiles.includes(tile)) return { ...found, tile };
  }
  return undefined;
}

/** The works of a workload that have a choice. The plan is made once for each tile of a class. */
function casesOf(workload: Candidate, profile: AdapterProfile, alignment: number): Case[] {
  const built = workload.build();
  const plan = (answer: (asked: Asked) => string | undefined) => {
    const chooser = new Chooser(answer);
    const { works } = takeInventory(built, { ...profile, tiles: chooser }, alignment);
    return works.map((work) => ({ work, ...choiceOf(work, chooser.asked, profile.class) }));
  };
  const present = plan(({ shapeClass, tiles }) => profile.tiles?.tileOf(shapeClass, tiles, ""));
  const most = Math.max(0, ...present.map(({ tiles }) => tiles?.length ?? 0));
  const forced = Array.from({ length: most }, (_, i) => plan(({ tiles }) => tiles[i]));
  return present.flatMap(({ work, shapeClass, tile: now, tiles }, w) => {
    if (shapeClass === undefined || now === undefined) return [];
    const variants = forced.slice(0, tiles?.length).map((works): Variant => (
      { tile: works[w].tile ?? now, work: works[w].work }
    ));
    return [{ shapeClass, work, now, variants, flops: work.flops }];
  });
}

/** One case for each class: its largest one. */
function joined(cases: readonly Case[]): Case[] {
  const classes = new Map<string, Case>();
  for (const next of cases) {
    const known = classes.get(next.shapeClass);
    const larger = known && known.work.flops >= next.work.flops ? known : next;
    const flops = next.flops + (known?.flops ?? 0);
    classes.set(next.shapeClass, { ...larger, flops });
  }
  return [...classes.values()].sort((a, b) => b.flops - a.flops);
}

/** A tile's time, by the clock that counts, and that of compiling its kernel. */
interface Measured extends Variant {
  readonly steady: Sample;
  readonly ms: number;
  readonly compileMs: number;
}

type Clock = keyof Sample;

function measured(variant: Variant, { first, steady }: Timing, clock: Clock): Measured {
  const compileMs = Math.max(0, first[clock] - steady[clock]);
  return { ...variant, steady, ms: steady[clock], compileMs };
}

/** Whether a tile is worth leaving the present one for. */
function pays(best: Measured, now: Measured): boolean {
  const saved = now.ms - best.ms;
  return saved >= LEAST_GAIN * now.ms && saved * RUNS >= best.compileMs;
}

/** The present tile of a case and the best one, which is the present one unless another pays. */
async function measureCase(
  { now, variants }: Case,
  place: ReturnType<typeof placer>,
  { rounds, cpuTime }: Pick<TuneOptions, "rounds" | "cpuTime">,
): Promise<{ present: Measured; best: Measured }> {
  const time = async (some: readonly Variant[], rounds: number) => {
    const options = { rounds, windowMs: 60, budgetMs: 1500 };
    const timings = await timeInRounds(some.map(({ work }) => place(work)), options);
    const clock = cpuTime ? "cpuMs" : "ms";
    return some.map((variant, i) => measured(variant, timings[i], clock));
  };
  const all = await time(variants, rounds);
  const present = all.find(({ tile }) => tile === now)!;
  const best = all.reduce((a, b) => b.ms < a.ms ? b : a);
  if (!pays(best, present)) return { present, best: present };
  // The least of many times is too small by chance: the two are measured again, by themselves.
  const [again, other] = await time([present, best], 2 * rounds + 1);
  const repeated = { ...other, compileMs: best.compileMs };
  return { present: again, best: pays(repeated, again) ? repeated : again };
}

function rowOf(
  { shapeClass, now }: Case,
  { present, best }: { present: Measured; best: Measured },
): Row {
  const { name, shape, pass, flops } = best.work;
  return {
    ...timedRow({ group: "tune", name, shape, pass }, best.steady),
    gflops: flops / best.ms / 1e6,
    schedule: shapeClass,
    details: {
      tile_now: now,
      tile_best: best.tile,
      now_ms: present.ms,
      gain: 1 - best.ms / present.ms,
      compile_ms: best.compileMs,
    },
  };
}

/** What {@link benchTune} found. */
export interface TuneRows {
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

/** Measures the tiles of the chosen classes of shapes. */
export async function benchTune(options: TuneOptions): Promise<TuneRows> {
  const from = glob(options.from);
  return await tuneWorkloads(candidates().filter(({ name }) => from(name)), options);
}

/** As {@link benchTune}, of given workloads. */
export async function tuneWorkloads(
  workloads: readonly Candidate[],
  { only, top, write, ...measuring }: Omit<TuneOptions, "from">,
): Promise<TuneRows> {
  const rt = await runtime();
  const profile = await activeProfile();
  const { offsetAlignment, name: adapter } = rt.device;
  const fits = only ? glob(only) : () => true;
  const all = joined(workloads.flatMap((w) => casesOf(w, profile, offsetAlignment)));
  const wanted = all.filter(({ shapeClass, work: { name, shape, pass } }) =>
    [shapeClass, name, `${name} ${shape} ${pass}`].some(fits)
  );
  const cases = wanted.slice(0, top || wanted.length);
  if (cases.length === 0) {
    throw new UserError("No shape fits; --only and --from choose among those of plans.");
  }
  const rows = await measureCases(rt, cases, measuring);
  const tiles: Tiles = Object.fromEntries(
    rows.filter(({ details }) => details.tile_best !== details.tile_now)
      .map(({ schedule, details }) => [schedule, details.tile_best]),
  );
  const better = Object.keys(tiles).length;
  const found = `${better} of ${cases.length} classes of shapes (of ${all.length} in the plans) ` +
    "have a better tile";
  if (better === 0) return { rows, notes: [`${found}.`] };
  const kept = write
    ? `kept in ${await saveTiles(adapter, tiles)}, which SSS_TUNING=off leaves aside.`
    : "--write keeps it for later processes.";
  return { rows, notes: [`${found}; ${kept}`] };
}

async function measureCases(
  rt: Runtime,
  cases: readonly Case[],
  measuring: Pick<TuneOptions, "rounds" | "cpuTime">,
): Promise<Row[]> {
  const bytesOf = ({ work }: Variant) =>
    SharedMemory.bytesOf(work.operands.map((o) => o.bytes), rt.device.offsetAlignment);
  const most = Math.max(16, ...cases.flatMap(({ variants }) => variants.map(bytesOf)));
  const memory = new SharedMemory(rt, most);
  const place = placer(rt, memory);
  const rows: Row[] = [];
  for (const each of cases) rows.push(rowOf(each, await measureCase(each, place, measuring)));
  memory.destroy();
  if (rt.failure) throw rt.failure;
  return rows;
}

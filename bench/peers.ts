/** `bench peers`: the same work in other libraries, in turn with this engine. */
import { readAll, type Runtime, runtime, type Storage, submit, UserError } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { type Sample, submitted, type Timed, timeInRounds, type Timing } from "./clock.ts";
import { glob } from "./kernels.ts";
import { boundMs, type Peaks, peakWorks } from "./peak.ts";
import { CASES, engineCase, titleOf } from "./peer_cases.ts";
import { modelCases, type PeerPart } from "./peer_models.ts";
import { type PeerCommand, PeerProcess, PEERS } from "./peer_process.ts";
import { difference, digest, type PeerCase, type PeerModel } from "./peers/protocol.ts";
import { type Column, rounded, type Row, timedRow } from "./report.ts";

/** What to measure, and in whose company. */
export interface PeerOptions {
  /** Pattern for the name, or for name and shape. */
  readonly only?: string;
  /** Parts of SAM-2 instead of single ops. */
  readonly models: boolean;
  /** Configurations, sides of images and parts of the models. */
  readonly configs: readonly string[];
  readonly sizes: readonly number[];
  readonly parts: readonly PeerPart[];
  /** Of the models, in this order. */
  readonly passes: readonly PeerModel["pass"][];
  /** Names of peers to leave out. */
  readonly without: readonly string[];
  readonly rounds: number;
}

/** Differences of results, relative to their root mean square, beyond which work is not the same. */
const TOLERANCE = { "forward": 2e-3, "forward+backward": 2e-2 };

/** One piece of work on all sides. */
interface Contest {
  readonly name: string;
  readonly shape: string;
  readonly pass: "forward" | "forward+backward";
  readonly flops: number;
  /** Bytes moved; 0 where they are not known. */
  readonly bytes: number;
  readonly work: PeerCase | PeerModel;
  readonly engine: Timed;
  readonly digest: readonly number[];
  readonly free: () => Promise<void> | void;
}

async function caseContest(rt: Runtime, work: PeerCase): Promise<Contest> {
  const { output, shape, flops, bytes } = engineCase(work);
  const storage: Storage = { buffer: rt.createBuffer(4 * output.size), offset: 0 };
  const [result] = await readAll([output]);
  return {
    name: work.kind,
    shape,
    pass: "forward",
    flops,
    bytes,
    work,
    engine: submitted(() => submit({ write: [[output, storage]] })),
    digest: digest(result),
    free: () => rt.destroyBuffer(storage.buffer),
  };
}

/** Everything that the options choose, one after the other: operands take memory. */
async function* contests(
  rt: Runtime,
  options: PeerOptions,
  cases: readonly PeerCase[],
): AsyncGenerator<Contest> {
  const fits = options.only ? glob(options.only) : () => true;
  if (!options.models) {
    const chosen = cases.filter((c) => fits(c.kind) || fits(`${c.kind} ${titleOf(c)}`));
    if (chosen.length === 0) throw new UserError(`No work fits "${options.only}".`);
    for (const work of chosen) yield await caseContest(rt, work);
    return;
  }
  for (const config of options.configs) {
    for (const size of options.sizes) {
      for (const part of options.parts) {
        for (const own of await modelCases(config, size, part, options.passes)) {
          yield { ...own, pass: own.work.pass, bytes: 0 };
        }
      }
    }
  }
}

/** Starts all peers that this machine has, and tells of those that it lacks. */
async function startPeers(
  commands: readonly PeerCommand[],
): Promise<{ peers: PeerProcess[]; notes: string[] }> {
  const peers: PeerProcess[] = [];
  const notes: string[] = [];
  for (const command of commands) {
    const started = await PeerProcess.start(command);
    if (started instanceof PeerProcess) peers.push(started);
    notes.push(
      started instanceof PeerProcess
        ? `${command.name}: ${started.version}`
        : `${command.name} is absent: ${started}`,
    );
  }
  return { peers, notes };
}

/** The peers that do the work right, and why the others do not take part. */
async function entrants(
  { work, pass, digest: expected, name, shape }: Contest,
  peers: readonly PeerProcess[],
): Promise<{ ready: PeerProcess[]; notes: string[] }> {
  const ready: PeerProcess[] = [];
  const notes: string[] = [];
  for (const peer of peers) {
    const found = await peer.prepare(work);
    const wrong = typeof found === "string" ? 0 : difference(expected, found);
    if (typeof found === "string") notes.push(`${name} ${shape}: ${found}`);
    else if (wrong > TOLERANCE[pass]) {
      notes.push(`${name} ${shape}: ${peer.name} differs by ${wrong.toExponential(1)}`);
    } else ready.push(peer);
  }
  return { ready, notes };
}

/** A row with the rates and times of all that took part. */
function rowOf(
  { name, shape, pass, flops, bytes }: Contest,
  { steady, rounds }: Timing,
  others: readonly (readonly [string, Sample])[],
  peaks: Peaks,
): Row {
  const amount = flops > 0 ? flops : bytes;
  const details = others.flatMap(([peer, { ms, cpuMs }]) => [
    [`${peer}_ms`, ms] as const,
    [`${peer}_cpu_ms`, cpuMs] as const,
  ]);
  return {
    ...timedRow({ group: "peers", name, shape, pass }, steady),
    gflops: flops > 0 ? flops / steady.ms / 1e6 : null,
    gbps: bytes > 0 ? bytes / steady.ms / 1e6 : null,
    share: boundMs({ flops, bytes }, peaks) / steady.ms,
    peers: Object.fromEntries(others.map(([peer, { ms }]) => [peer, amount / ms / 1e6])),
    details: { rounds, ...Object.fromEntries(details) },
  };
}

/** Measured rows, the peaks of the last round, and who was absent or wrong. */
export interface PeerRows {
  readonly rows: readonly Row[];
  readonly peaks: Peaks;
  readonly notes: readonly string[];
}

/**
 * Measures this engine and its peers on the same work, in turn.
 *
 * @param commands the peers; {@link PEERS} unless others are given.
 * @param cases the ops; {@link CASES} unless others are given.
 */
export async function benchPeers(
  options: PeerOptions,
  commands: readonly PeerCommand[] = PEERS,
  cases: readonly PeerCase[] = CASES,
): Promise<PeerRows> {
  const rt = await runtime();
  const profile = await activeProfile();
  const wanted = commands.filter(({ name, models }) =>
    !options.without.includes(name) && (models || !options.models)
  );
  const { peers, notes } = await startPeers(wanted);
  const peak = peakWorks(rt, profile);
  const rows: Row[] = [];
  let peaks: Peaks = { gflops: 0, gbps: 0 };
  try {
    for await (const contest of contests(rt, options, cases)) {
      const { ready, notes: found } = await entrants(contest, peers);
      notes.push(...found);
      const works = [...peak.works, contest.engine, ...ready.map((peer) => peer.work)];
      const timings = await timeInRounds(works, { rounds: options.rounds });
      await contest.free();
      peaks = peak.peaks(timings.slice(0, 2).map((t) => t.steady));
      const others = ready.map((peer, i) => [peer.name, timings[i + 3].steady] as const)
        .filter(([, { ms }]) => Number.isFinite(ms));
      rows.push(rowOf(contest, timings[2], others, peaks));
    }
  } finally {
    peak.destroy();
    for (const peer of peers) await peer.close();
  }
  if (rt.failure) throw rt.failure;
  return { rows, peaks, notes };
}

/** A column for each peer: its rate, and how often this engine's wall and CPU time go into its own. */
export function peerColumns(rows: readonly Row[]): Column[] {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.peers)))];
  return names.map((name) => ({
    title: `${name} (ours is faster: wall, CPU)`,
    text: ({ peers, details, ms, cpu_ms }) => {
      const rate = peers[name];
      if (rate === undefined) return "";
      const [wall, cpu] = [
        Number(details[`${name}_ms`]) / ms,
        Number(details[`${name}_cpu_ms`]) / cpu_ms,
      ];
      return `${rounded(rate)} (${wall.toFixed(2)}x, ${cpu.toFixed(2)}x)`;
    },
  }));
}

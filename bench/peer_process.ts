/** Processes of other libraries: one each, so that they share neither a device nor packages with us. */
import { fileURLToPath } from "node:url";
import type { Sample, Timed } from "./clock.ts";
import { TextLineStream } from "./peers/lines.ts";
import { MARK, type PeerCase, type PeerModel, type Reply, type Request } from "./peers/protocol.ts";

/** How to start a peer: commands that are tried in turn. */
export interface PeerCommand {
  /** Short name, the key of its figures. */
  readonly name: string;
  readonly commands: readonly (readonly [program: string, ...args: string[]])[];
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it has the parts of SAM-2, beside single ops. */
  readonly models?: boolean;
}

const file = (name: string) => fileURLToPath(new URL(`peers/${name}`, import.meta.url));

const inDeno = (name: string, module: string): PeerCommand => ({
  name,
  commands: [[
    Deno.execPath(),
    "run",
    "-A",
    "--quiet",
    "--config",
    file("deno.json"),
    file(module),
  ]],
});

/** Threads that spin while they wait would count as CPU time of the work, and disturb that of others. */
const SLEEPING = { OMP_WAIT_POLICY: "PASSIVE", OPENBLAS_THREAD_TIMEOUT: "10" };

/** Debian's packages belong to its own interpreter, which another one may hide. */
const inPython = (name: string, ...args: string[]): PeerCommand => ({
  name,
  commands: ["python3", "/usr/bin/python3"].map((python) => [
    python,
    file("python_peer.py"),
    ...args,
  ]),
  env: SLEEPING,
});

/** All peers. */
export const PEERS: readonly PeerCommand[] = [
  inDeno("tfjs", "tfjs.ts"),
  inDeno("ort", "ort.ts"),
  inDeno("jax", "jax.ts"),
  inPython("numpy", "numpy"),
  { ...inPython("pytorch", "torch"), models: true },
  { ...inPython("pytorch tf32", "torch", "tf32"), models: true },
];

/** A running peer. */
export class PeerProcess {
  /** Why the last piece of work could not be timed. */
  failure: string | undefined;

  private constructor(
    readonly name: string,
    /** Name and version as the peer gives them. */
    readonly version: string,
    private readonly child: Deno.ChildProcess,
    private readonly input: WritableStreamDefaultWriter<Uint8Array>,
    private readonly replies: ReadableStreamDefaultReader<string>,
  ) {}

  /** Starts a peer; where none of its commands works, why. */
  static async start({ name, commands, env = {} }: PeerCommand): Promise<PeerProcess | string> {
    const reasons = new Set<string>();
    for (const command of commands) {
      const started = await PeerProcess.launch(name, command, env);
      if (started instanceof PeerProcess) return started;
      reasons.add(started);
    }
    return [...reasons].join("; ");
  }

  private static async launch(
    name: string,
    [program, ...args]: PeerCommand["commands"][number],
    env: Readonly<Record<string, string>>,
  ): Promise<PeerProcess | string> {
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(program, {
        args,
        env,
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      return `${program}: ${(error as Error).message}`;
    }
    const complaints = lastLine(child.stderr);
    const replies = child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream()).getReader();
    const first = await nextReply(replies);
    if (first && "ready" in first) {
      return new PeerProcess(name, first.ready, child, child.stdin.getWriter(), replies);
    }
    await child.stdin.close().catch(() => {});
    await child.status;
    return first && "absent" in first ? first.absent : await complaints;
  }

  private async ask(request: Request): Promise<Reply> {
    await this.input.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    return await nextReply(this.replies) ?? { unsupported: `${this.version} ended` };
  }

  /** Makes work ready; the digest of its result, or why there is none. */
  async prepare(work: PeerCase | PeerModel): Promise<readonly number[] | string> {
    this.failure = undefined;
    const reply = await this.ask(
      "part" in work ? { do: "model", work } : { do: "prepare", work },
    );
    if ("digest" in reply) return reply.digest;
    return "unsupported" in reply ? reply.unsupported : "an unexpected answer";
  }

  /** The work that was prepared last. A failure ends it: its times are then infinite. */
  get work(): Timed {
    return {
      time: async (runs): Promise<Sample> => {
        const reply: Reply = this.failure
          ? { unsupported: this.failure }
          : await this.ask({ do: "time", runs });
        if ("ms" in reply) return reply;
        this.failure = "unsupported" in reply ? reply.unsupported : "an unexpected answer";
        return { ms: Infinity, cpuMs: Infinity };
      },
    };
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.input.close().catch(() => {});
    await this.replies.cancel();
    await this.child.status;
  }
}

/** The next line of the protocol; libraries may print others. Undefined at the end. */
async function nextReply(
  replies: ReadableStreamDefaultReader<string>,
): Promise<Reply | undefined> {
  for (;;) {
    const { value, done } = await replies.read();
    if (done) return undefined;
    if (value.startsWith(MARK)) return JSON.parse(value.slice(MARK.length));
  }
}

/** The last line that a process prints. */
async function lastLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let last = "ended without an answer";
  const lines = stream.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) if (line.trim()) last = line.trim();
  return last;
}

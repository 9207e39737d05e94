/** The loop of a peer's process: reads requests, answers each. */
import { TextLineStream } from "./lines.ts";
import process from "node:process";
import { digest, MARK, type PeerCase, type Reply, type Request } from "./protocol.ts";

/** Work that a peer has made ready. */
export interface Prepared {
  /** Starts one run; the result stays on the device. */
  run(): void | Promise<void>;
  /** Waits until all runs are done. */
  settle(): Promise<void>;
  /** The last result, in the layout that the operands have. */
  result(): Promise<ArrayLike<number>>;
  /** Frees the memory. */
  free(): void;
}

/** A library that does the work of a case. */
export interface Library {
  /** Name and version. */
  readonly name: string;
  /** Undefined where the library lacks the op. */
  prepare(work: PeerCase): Prepared | undefined | Promise<Prepared | undefined>;
}

const say = (reply: Reply) => console.log(MARK + JSON.stringify(reply));

async function time(prepared: Prepared, runs: number): Promise<Reply> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  for (let i = 0; i < runs; i++) await prepared.run();
  await prepared.settle();
  const used = process.cpuUsage(cpu);
  const ms = performance.now() - start;
  return { ms: ms / runs, cpuMs: (used.user + used.system) / 1000 / runs };
}

/** Answers requests on standard input until it ends. */
export async function serve(open: () => Promise<Library>): Promise<void> {
  let library: Library;
  try {
    library = await open();
  } catch (error) {
    say({ absent: error instanceof Error ? error.message : String(error) });
    return;
  }
  say({ ready: library.name });
  let prepared: Prepared | undefined;
  const prepare = async (work: PeerCase): Promise<Reply> => {
    prepared?.free();
    prepared = await library.prepare(work);
    if (!prepared) {
      return { unsupported: `${library.name} has no ${work.kind}` };
    }
    await prepared.run();
    await prepared.settle();
    return { digest: digest(await prepared.result()) };
  };
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const request = JSON.parse(line) as Request;
    try {
      if (request.do === "model") {
        say({ unsupported: `${library.name} has no model` });
      } else if (request.do === "prepare") say(await prepare(request.work));
      else say(await time(prepared!, request.runs));
    } catch (error) {
      say({
        unsupported: error instanceof Error ? error.message : String(error),
      });
    }
  }
}

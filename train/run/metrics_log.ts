/** metrics.jsonl: one JSON object a line, in the order of the steps. */
import { explain } from "../../engine/atomic_file.ts";
import { UserError } from "../../engine/errors.ts";

/** A line of the log. */
export interface MetricsLine {
  readonly step: number;
  readonly [name: string]: number | string | null;
}

/** An open log. The file is locked, so that no two processes work on one run. */
export class MetricsLog implements Disposable {
  readonly #file: Deno.FsFile;

  private constructor(private readonly path: string, file: Deno.FsFile) {
    this.#file = file;
  }

  /**
   * Opens or creates a log. What a run wrote after its last checkpoint, `step`, is cut off: it is
   * going to be written again.
   *
   * @throws {UserError} where another process has it open, or it cannot be written.
   */
  static async open(path: string, step: number): Promise<MetricsLog> {
    const options = { read: true, write: true, create: true };
    const file = await Deno.open(path, options).catch((error) => {
      throw explain(error, path);
    });
    if (!await file.tryLock(true)) {
      file.close();
      throw new UserError(`Another process is working on this run: ${path} is locked.`);
    }
    const end = endOfStep(await Deno.readFile(path), step);
    await file.truncate(end);
    await file.seek(end, Deno.SeekMode.Start);
    return new MetricsLog(path, file);
  }

  /**
   * Adds a line.
   *
   * @throws {UserError} where it cannot be written.
   */
  async add(line: MetricsLine): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(line) + "\n");
    try {
      for (let done = 0; done < bytes.length;) done += await this.#file.write(bytes.subarray(done));
    } catch (error) {
      throw explain(error, this.path);
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Bytes of the complete lines up to and including `step`. */
function endOfStep(bytes: Uint8Array, step: number): number {
  let end = 0;
  for (let next; (next = bytes.indexOf(10, end)) >= 0; end = next + 1) {
    if (!(stepOf(bytes.subarray(end, next)) <= step)) break;
  }
  return end;
}

function stepOf(line: Uint8Array): number {
  try {
    return (JSON.parse(new TextDecoder().decode(line)) as MetricsLine).step;
  } catch {
    return NaN;
  }
}

/** The line that shows how a long piece of work goes. */

/** Where lines go. */
export interface Terminal {
  /** Whether a line can be rewritten. */
  readonly rewrites: boolean;
  /** Width of a line. */
  readonly columns: () => number;
  /** Writes without a line end of its own. */
  write(text: string): void;
}

const INTERVAL = 10_000;
const REFRESH = 100;
/** Back to the first column of an emptied line. */
const CLEAR = "\r\x1b[2K";

/** Standard error. */
export function standardError(): Terminal {
  const rewrites = Deno.stderr.isTerminal();
  return {
    rewrites,
    // Some terminals have no size.
    columns: () => Deno.consoleSize().columns || 80,
    write: (text) => void Deno.stderr.writeSync(new TextEncoder().encode(text)),
  };
}

/**
 * One line that is rewritten on a terminal; elsewhere a plain line after each note that stays, and
 * then every ten seconds.
 */
export class ProgressLine implements Disposable {
  #shown: number;
  #pending = "";
  #open = false;

  constructor(
    private readonly terminal: Terminal = standardError(),
    private readonly now: () => number = () => performance.now(),
  ) {
    this.#shown = terminal.rewrites ? -Infinity : now();
  }

  /** Shows `text`, unless the last line is too recent. */
  update(text: string): void {
    this.#pending = text;
    const wait = this.terminal.rewrites ? REFRESH : INTERVAL;
    if (this.now() - this.#shown >= wait) this.#show();
  }

  /** Prints a line that stays, in place of the progress line. */
  say(text: string): void {
    this.terminal.write(`${this.#open ? CLEAR : ""}${text}\n`);
    this.#open = false;
    this.#pending = "";
    this.#shown = -Infinity;
  }

  /** Lets the latest text stay. */
  keep(): void {
    if (this.#pending) this.#show();
    if (this.#open) this.terminal.write("\n");
    this.#open = false;
  }

  /** Takes the line away, so that other output can follow. */
  [Symbol.dispose](): void {
    if (this.#open) this.terminal.write(CLEAR);
    this.#open = false;
    this.#pending = "";
  }

  #show(): void {
    this.#shown = this.now();
    if (this.terminal.rewrites) {
      const text = this.#pending.slice(0, Math.max(1, this.terminal.columns() - 1));
      this.terminal.write(`${CLEAR}${text}`);
      this.#open = true;
    } else {
      this.terminal.write(`${this.#pending}\n`);
    }
    this.#pending = "";
  }
}

/** Speed over the latest steps, and the time that is left. */
export class Pace {
  readonly #steps: { readonly milliseconds: number; readonly images: number }[] = [];

  /** @param window steps that count. */
  constructor(private readonly window = 20) {}

  /** Adds a step. */
  add(milliseconds: number, images: number): void {
    this.#steps.push({ milliseconds, images });
    if (this.#steps.length > this.window) this.#steps.shift();
  }

  /** Milliseconds of a step: the median, since steps that compile kernels take far longer. */
  get stepTime(): number {
    const times = this.#steps.map((s) => s.milliseconds).sort((a, b) => a - b);
    return times.length > 0 ? times[Math.floor((times.length - 1) / 2)] : 0;
  }

  get imagesPerSecond(): number {
    const images = this.#steps.at(-1)?.images ?? 0;
    return this.stepTime > 0 ? 1000 * images / this.stepTime : 0;
  }

  /** Time for `steps` more, as in "1h 02m", "3m 05s" or "12s". */
  eta(steps: number): string {
    return duration(this.stepTime * steps);
  }
}

/** Milliseconds in words. */
export function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours > 0) return `${hours}h ${two(minutes % 60)}m`;
  return minutes > 0 ? `${minutes}m ${two(seconds % 60)}s` : `${seconds}s`;
}

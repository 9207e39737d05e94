/** What computations need of GPU memory, and what there is of it. */
import type { Device } from "./device.ts";
import { freeBytes } from "./environment.ts";
import { UserError } from "./errors.ts";

/** Thrown before anything of a computation has run that does not fit into memory. */
export class MemoryError extends UserError {
  /** Name of the class. */
  override name = "MemoryError";

  /**
   * An error with its figures.
   *
   * @param message one sentence that tells both.
   * @param needed bytes.
   * @param available bytes.
   */
  constructor(message: string, readonly needed: number, readonly available: number) {
    super(message);
  }
}

/** Bytes of GPU memory that one run of a plan needs. */
export interface PlanMemory {
  /** Intermediates. */
  readonly arena: number;
  /** Values that come from the host for each run. */
  readonly uploads: number;
  /** Parameters and other values that are in GPU memory before. */
  readonly leaves: number;
  /** Memory that results are written to, such as gradients. */
  readonly targets: number;
  /** Values that are read back. */
  readonly readback: number;
  /** All of these. */
  readonly peak: number;
}

/** The buffers that hold a plan's intermediates. */
export interface ArenaSize {
  /** Bytes of all of them. */
  readonly arenaBytes: number;
  /** Bytes of each but the last: no value crosses from one to the next. */
  readonly pieceBytes: number;
  /** Bytes of each. */
  readonly pieces: readonly number[];
}

/** What a device may hold. */
export interface MemoryLimits {
  /** Bytes of one buffer. */
  readonly bufferBytes: number;
  /**
   * Bytes of all buffers, those that are alive included; `undefined` where nothing tells, as on GPUs.
   *
   * @param live bytes that are alive.
   */
  totalBytes(live: number): number | undefined;
}

/** The limits of a device. Software adapters take their memory from the machine's. */
export function limitsOf({ gpu, profile }: Device): MemoryLimits {
  return {
    bufferBytes: gpu.limits.maxBufferSize,
    totalBytes: (live) => {
      const free = profile.software ? freeBytes() : undefined;
      return free === undefined ? undefined : live + free;
    },
  };
}

/**
 * Checks that buffers can be made.
 *
 * @param what is to be run, as the beginning of a sentence.
 * @param live bytes of buffers that are alive.
 * @param buffers bytes of each buffer that has yet to be made.
 * @throws {MemoryError} where they cannot.
 */
export function requireMemory(
  what: string,
  limits: MemoryLimits,
  live: number,
  buffers: readonly number[],
): void {
  const largest = Math.max(0, ...buffers);
  if (largest > limits.bufferBytes) {
    throw new MemoryError(
      `${what} needs a buffer of ${sizeText(largest)} in GPU memory; this adapter's buffers hold ` +
        `at most ${sizeText(limits.bufferBytes)}.`,
      largest,
      limits.bufferBytes,
    );
  }
  const needed = buffers.reduce((sum, bytes) => sum + bytes, live);
  const total = limits.totalBytes(live);
  if (total === undefined || needed <= total) return;
  throw new MemoryError(
    `${what} needs ${sizeText(needed)} of GPU memory; this machine can give ${sizeText(total)}.`,
    needed,
    total,
  );
}

/** Bytes in words, as in "3.2 GiB". */
export function sizeText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${unit === 0 ? bytes : (bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`;
}

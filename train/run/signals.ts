/**
 * Ctrl-C and SIGTERM during long work. Waiting for a GPU blocks the event loop on some adapters, so
 * that signals are listened to in a worker.
 */
import type { Watch } from "./signal_worker.ts";

/** Exit code of work that was interrupted. */
export const INTERRUPTED = 130;

/** Where work in progress asks whether it shall stop. */
export interface StopRequest {
  /** True once a signal has come. */
  readonly requested: boolean;
}

/** Listens until disposed. The second signal ends the process at once. */
export interface SignalWatch extends StopRequest, Disposable {}

/**
 * Starts to listen to Ctrl-C and SIGTERM.
 *
 * @param acknowledgement printed to standard error as soon as the first signal comes.
 */
export async function watchSignals(acknowledgement: string): Promise<SignalWatch> {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./signal_worker.ts", import.meta.url), { type: "module" });
  const ready = new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(`Cannot watch signals: ${event.message}`));
  });
  const text = Deno.stderr.isTerminal() ? `\n${acknowledgement}` : acknowledgement;
  worker.postMessage({ flag, acknowledgement: text } satisfies Watch);
  await ready;
  return {
    get requested() {
      return Atomics.load(flag, 0) > 0;
    },
    [Symbol.dispose]: () => worker.terminate(),
  };
}

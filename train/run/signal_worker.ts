/** The thread that listens to signals; see signals.ts. */
/// <reference lib="deno.worker" />
import { onSignals } from "../setup/process.ts";

/** What the listening thread is told at its start. */
export interface Watch {
  /** Shared; its element is the number of signals so far. */
  readonly flag: Int32Array;
  /** Printed when the first signal comes. */
  readonly acknowledgement: string;
}

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM"];

self.onmessage = ({ data: { flag, acknowledgement } }: MessageEvent<Watch>) => {
  const stop = onSignals(SIGNALS, () => {
    if (Atomics.add(flag, 0, 1) === 0) {
      console.error(acknowledgement);
      return;
    }
    // Deno.exit() would end this thread only. Without listeners the signal ends the process.
    stop();
    Deno.kill(Deno.pid, "SIGINT");
  });
  self.postMessage("listening");
};

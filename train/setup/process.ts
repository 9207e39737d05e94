/** Child processes that stand in for this one: same terminal, same signals, same exit code. */

const FORWARDED: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT", "SIGBREAK"]
  : ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];

/** Signals of one kind that are less than this many milliseconds apart are one. */
const SAME_SIGNAL = 250;

/**
 * Listens to signals. Ctrl-C under `deno task` arrives twice within milliseconds, from the terminal
 * and from the task runner: `handler` is called once for both.
 *
 * @returns a function that stops listening.
 */
export function onSignals(
  signals: readonly Deno.Signal[],
  handler: (signal: Deno.Signal) => void,
): () => void {
  const listeners = signals.map((signal) => {
    let last = -Infinity;
    const listener = () => {
      const now = performance.now();
      const repeated = now - last < SAME_SIGNAL;
      last = now;
      if (!repeated) handler(signal);
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return () => listeners.forEach((remove) => remove());
}

/**
 * Runs Deno with `args` in a new process until it ends. Signals reach the child once, and it decides
 * what they mean.
 *
 * @returns the child's exit code.
 */
export async function runDeno(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env,
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    // Its own process group: the terminal's Ctrl-C then reaches this process only, which passes it on.
    detached: Deno.build.os !== "windows",
  }).spawn();
  const stop = onSignals(FORWARDED, (signal) => {
    try {
      child.kill(signal);
    } catch {
      // It has just ended; its status follows.
    }
  });
  try {
    return (await child.status).code;
  } finally {
    stop();
  }
}

import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";

const PROCESS = new URL("../train/setup/process.ts", import.meta.url).href;

/** Prints each signal that it gets; ends with code 7 after `lines` of them have come. */
const child = (signals: string[], count: number) => `
  let left = ${count};
  for (const signal of ${JSON.stringify(signals)}) {
    Deno.addSignalListener(signal, () => {
      console.log(signal);
      // Waits before it ends, so that a signal that comes twice is seen.
      if (--left === 0) setTimeout(() => Deno.exit(7), 400);
    });
  }
  console.log("ready");
  setInterval(() => {}, 1000);`;

/** Starts a process that runs `program` with runDeno(), sends it signals, and returns its lines. */
async function signalled(program: string, signals: Deno.Signal[]): Promise<[number, string[]]> {
  const parent = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      `import { runDeno } from ${JSON.stringify(PROCESS)};
       Deno.exit(await runDeno(["eval", ${JSON.stringify(program)}]));`,
    ],
    stdout: "piped",
  }).spawn();
  let text = "";
  let sent = false;
  for await (const chunk of parent.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (sent || !text.includes("ready")) continue;
    sent = true;
    for (const signal of signals) parent.kill(signal);
  }
  return [(await parent.status).code, text.trimEnd().split("\n")];
}

const ignore = Deno.build.os === "windows";
const where = ignore ? " (ignored: Windows has no such signals)" : "";

Deno.test("runDeno() gives back the exit code when the child ends by itself", async () => {
  const [code, lines] = await signalled('console.log("ready"); Deno.exit(3);', []);
  equal(code, 3);
  deepEqual(lines, ["ready"]);
});

Deno.test({
  name: "runDeno() lets the child decide when a signal comes" + where,
  ignore,
  fn: async () => {
    const [code, lines] = await signalled(child(["SIGTERM"], 1), ["SIGTERM"]);
    equal(code, 7);
    deepEqual(lines, ["ready", "SIGTERM"]);
  },
});

Deno.test({
  name: "runDeno() passes SIGINT on once when terminal and task runner both send it" + where,
  ignore,
  fn: async () => {
    const [code, lines] = await signalled(child(["SIGINT"], 1), ["SIGINT", "SIGINT"]);
    equal(code, 7);
    deepEqual(lines, ["ready", "SIGINT"]);
  },
});

Deno.test({
  name: "runDeno() reports the signal when the child dies of it" + where,
  ignore,
  fn: async () => {
    const program = 'console.log("ready"); setInterval(() => {}, 1000);';
    const [code] = await signalled(program, ["SIGTERM"]);
    equal(code, 128 + 15);
  },
});

import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { Pace, ProgressLine } from "../train/run/progress.ts";
import { recorder } from "./run_commands.ts";

function timed(rewrites: boolean) {
  const { terminal, written } = recorder(rewrites);
  let time = 0;
  const line = new ProgressLine(terminal, () => time);
  return { line, written, wait: (ms: number) => void (time += ms) };
}

Deno.test("ProgressLine rewrites one line when it is on a terminal", () => {
  const { line, written, wait } = timed(true);
  const clear = "\r\x1b[2K";
  line.update("step 1");
  line.update("step 2");
  wait(100);
  line.update("step 3 of a long text");
  line.say("note");
  line.update("step 4");
  line.update("step 5");
  line.keep();
  line[Symbol.dispose]();
  const shown = [`${clear}step 1`, `${clear}step 3 of a`, `${clear}note\n`];
  deepEqual(written, [...shown, `${clear}step 4`, `${clear}step 5`, "\n"]);
});

Deno.test("ProgressLine takes its line away when it is disposed", () => {
  const { line, written } = timed(true);
  line.update("step 1");
  line[Symbol.dispose]();
  deepEqual(written, ["\r\x1b[2Kstep 1", "\r\x1b[2K"]);
});

Deno.test("ProgressLine writes a line every ten seconds when it is on no terminal", () => {
  const { line, written, wait } = timed(false);
  line.update("reading");
  line.say("note");
  for (let step = 1; step <= 25; step++, wait(1000)) line.update(`step ${step}`);
  line.keep();
  line[Symbol.dispose]();
  deepEqual(written, ["note\n", "step 1\n", "step 11\n", "step 21\n", "step 25\n"]);
});

Deno.test("Pace gives the median step when some steps compile kernels", () => {
  const pace = new Pace();
  pace.add(60_000, 8);
  equal(pace.eta(2), "2m 00s");
  for (const time of [1900, 90_000, 2000, 1900, 2000]) pace.add(time, 8);
  equal(pace.imagesPerSecond, 4);
  equal(pace.eta(1900), "1h 03m");
  equal(pace.eta(6), "12s");
});

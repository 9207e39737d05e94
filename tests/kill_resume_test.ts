import { readSafetensors } from "../engine/safetensors.ts";
import { logOf } from "./interrupted_runs.ts";
import { inFolder, trainWith } from "./run_commands.ts";
import { Trainer } from "../train/trainer.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);

/** Lines of a run's log, complete ones. */
async function logged(run: string): Promise<number> {
  const text = await Deno.readTextFile(`${run}/metrics.jsonl`).catch(() => "");
  return text.split("\n").length - 1;
}

/** Starts the command itself, and kills it without warning once it has logged step `at`. */
async function killedAfter(at: number, run: string, args: readonly string[]): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "train/launch.ts", "train/commands/train.ts", ...args],
    cwd: ROOT,
    stdout: "null",
    stderr: "null",
  }).spawn();
  let code: number | undefined;
  child.status.then((status) => code = status.code);
  while (await logged(run) < at) {
    await new Promise<void>((done) => setTimeout(done, 5));
    equal(code, undefined, "the command has ended by itself");
  }
  child.kill("SIGKILL");
  await child.status;
}

/** The log without times, and the last checkpoint. */
async function essence(run: string) {
  return { lines: await logOf(run), last: await readSafetensors(`${run}/last.safetensors`) };
}

Deno.test({
  name: "train ends with the same bits when it was killed between two checkpoints and resumed",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const small = ["--size", "32", "--batch", "2", "--steps", "8", "--val-every", "0"];
      const data = ["--data", `${folder}/data`, "--labeled", "1", "--method", "supervised"];
      const args = [...data, ...small, "--checkpoint-every", "2", "--eval-limit", "1"];
      const [whole, parts] = [`${folder}/whole`, `${folder}/parts`];
      await killedAfter(3, parts, [...args, "--out", parts]);
      const { metadata } = await readSafetensors(`${parts}/last.safetensors`);
      equal(JSON.parse(metadata.run).step, 2);
      equal((await trainWith(["--resume", parts], Trainer.create)).code, 0);
      equal((await trainWith([...args, "--out", whole], Trainer.create)).code, 0);
      const [a, b] = [await essence(parts), await essence(whole)];
      equal(a.lines.length, 8);
      ok(a.last.tensors.size > 100);
      deepEqual(a, b);
    }),
});

import { match, ok, strictEqual as equal } from "node:assert/strict";
import { readSafetensors } from "../engine/safetensors.ts";
import { inFolder } from "./run_commands.ts";

/** Starts a training of long steps that block the event loop, and signals it when it runs. */
async function signalled(folder: string, pauses: number[]) {
  const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const args = ["--data", `${folder}/data`, "--checkpoint-every", "1", "--out", `${folder}/run`];
  const source = `
    import { parseTrainFlags } from ${module("../train/run/options.ts")};
    import { runTraining } from ${module("../train/run/train_run.ts")};
    import { FakeTrainer } from ${module("./fake_trainer.ts")};
    const create = async (options, data) => new FakeTrainer(options, data, 1500);
    Deno.exit(await runTraining(parseTrainFlags(${JSON.stringify(args)}), create));`;
  const config = new URL("../deno.json", import.meta.url).pathname;
  await Deno.writeTextFile(`${folder}/main.ts`, source);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, `${folder}/main.ts`],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: { text: string; at: number }[] = [];
  let sent: number[] = [];
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    for (const text of chunk.trimEnd().split("\n")) lines.push({ text, at: performance.now() });
    if (sent.length > 0 || !lines.some(({ text }) => text.startsWith("step 1/"))) continue;
    sent = pauses.map((pause) => performance.now() + pause);
    for (const pause of pauses) setTimeout(() => child.kill("SIGINT"), pause);
  }
  return { lines, sent, code: (await child.status).code, ended: performance.now() };
}

const ignore = Deno.build.os === "windows";

Deno.test({
  name: "runTraining() acknowledges Ctrl-C at once and stops after the step when it comes in one",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const { lines, sent, code } = await signalled(folder, [300]);
      equal(code, 130);
      const said = lines.find(({ text }) => text.startsWith("Stopping:"));
      ok(said && said.at - sent[0] < 1000, "the acknowledgement waits for the step");
      match(
        lines.at(-1)!.text,
        /^Stopped after step 2 of \d+, which is saved; go on with: deno task train --resume /,
      );
      equal(
        JSON.parse((await readSafetensors(`${folder}/run/last.safetensors`)).metadata.run).step,
        2,
      );
    }),
});

Deno.test({
  name: "runTraining() ends at once with its checkpoint intact when a second signal comes",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const { sent, code, ended } = await signalled(folder, [100, 500]);
      equal(code, 130);
      ok(ended - sent[1] < 800, "the process waits for the step");
      equal(
        JSON.parse((await readSafetensors(`${folder}/run/last.safetensors`)).metadata.run).step,
        1,
      );
    }),
});

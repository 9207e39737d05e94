import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const text = (path: string) => Deno.readTextFile(new URL(path, ROOT));

const OK = "running 12 tests\\nok | 12 passed (3 steps) | 0 failed | 2 ignored (4s)\\n";

/** Runs `.ci/run` with an `npx` that prints `output` for the tests, and fails the gate named. */
async function ci(output: string, status = 0, failing = ""): Promise<[number, string, string[]]> {
  const folder = await Deno.makeTempDir();
  try {
    const npx = join(folder, "npx");
    await Deno.writeTextFile(
      npx,
      `#!/bin/sh
echo "$*" >> "${folder}/calls"
case "$3" in
  task) printf '${output}'; exit ${status};;
  "${failing}") exit 1;;
esac
`,
    );
    await Deno.chmod(npx, 0o755);
    const { code, stdout } = await new Deno.Command("bash", {
      args: [fileURLToPath(new URL(".ci/run", ROOT))],
      env: { PATH: `${folder}:${Deno.env.get("PATH")}` },
      stderr: "null",
    }).output();
    const calls = (await Deno.readTextFile(join(folder, "calls"))).trimEnd().split("\n");
    return [code, new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1)!, calls];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const ignore = Deno.build.os === "windows";
const where = ignore ? " (ignored: the script needs bash)" : "";

Deno.test({
  name: ".ci/run runs the README's test command, then the other gates of ok" + where,
  ignore,
  fn: async () => {
    const [code, last, calls] = await ci(OK);
    equal(code, 0);
    equal(last, "12 passed, 0 failed");
    const section = (await text("README.md")).split("## Tests")[1];
    equal(`npx ${calls[0]}`, section.match(/```sh\n(.*)\n```/)?.[1]);
    const { tasks } = JSON.parse(await text("deno.json"));
    const gates = (tasks.ok.command as string).split(" && ").map((gate) =>
      gate.replace(/^deno /, "--yes deno@2.9.6 ")
    );
    deepEqual([...calls].sort(), gates.sort());
  },
});

for (
  const [reason, output, status, failing, expected] of [
    ["tests fail", "FAILED | 12 passed | 2 failed (4s)\\n", 1, "", "12 passed, 2 failed"],
    ["the process crashes after its summary", OK, 139, "", "12 passed, 1 failed"],
    ["the process crashes before its summary", "boom\\n", 134, "", "0 passed, 1 failed"],
    ["no test ran", "ok | 0 passed | 0 failed (0ms)\\n", 0, "", "0 passed, 1 failed"],
    ["nothing was printed", "", 0, "", "0 passed, 1 failed"],
    ["lint fails", OK, 0, "lint", "12 passed, 1 failed"],
    [
      "lint fails besides tests",
      "FAILED | 1 passed | 1 failed (4s)\\n",
      1,
      "lint",
      "1 passed, 2 failed",
    ],
  ] as const
) {
  Deno.test({
    name: `.ci/run counts a failure and ends with 1 when ${reason}${where}`,
    ignore,
    fn: async () => {
      const [code, last] = await ci(output, status, failing);
      deepEqual([code, last], [1, expected]);
    },
  });
}

Deno.test("the README has a row for each task when the tasks are listed", async () => {
  const readme = await text("README.md");
  const { tasks } = JSON.parse(await text("deno.json"));
  for (const name of Object.keys(tasks)) ok(readme.includes(`| \`deno task ${name}\``), name);
});

Deno.test("the tasks start modules that exist when they go through the launcher", async () => {
  const { tasks } = JSON.parse(await text("deno.json"));
  const commands = Object.values(tasks as Record<string, { command: string }>);
  const modules = commands.flatMap(({ command }) => command.match(/launch\.ts (\S+)/)?.[1] ?? []);
  equal(modules.length, commands.length - 1, "all but ok");
  for (const module of modules) {
    ok(/export (async )?function run\(/.test(await text(module)), module);
  }
});

/** Runs the examples in the documentation of the public API, and the program in the README. */
import { ok, strictEqual as equal } from "node:assert/strict";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** A block that `deno test --doc` runs, in Markdown or in a comment. */
const BLOCK = /^(?: \* | *)```ts$/gm;

/** Files with examples, by the number of these. */
async function examples(): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  async function visit(path: string): Promise<void> {
    const count = (await Deno.readTextFile(ROOT + path)).match(BLOCK)?.length ?? 0;
    if (count > 0) found.set(path, count);
  }
  async function walk(folder: string): Promise<void> {
    for await (const { name, isDirectory } of Deno.readDir(ROOT + folder)) {
      if (isDirectory) await walk(`${folder}${name}/`);
      else if (name.endsWith(".ts")) await visit(folder + name);
    }
  }
  for (const file of ["README.md", "mod.ts"]) await visit(file);
  for (const folder of ["engine/", "model/", "train/"]) await walk(folder);
  return found;
}

Deno.test("the examples of the documentation run, and the README's network learns", async () => {
  const found = await examples();
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--doc", "--parallel", ...found.keys()],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  equal(code, 0, out + err);
  const all = [...found.values()].reduce((a, b) => a + b);
  ok(all >= 12, `${all} examples`);
  ok(out.includes(`ok | ${all} passed | 0 failed`), out);
  const right = Number(/(\d+) of 500 new images are right/.exec(out)?.[1]);
  ok(right > 475, `${right} of 500`);
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  const program = /```ts\n([^]*?)```/.exec(readme)![1];
  ok(program.trimEnd().split("\n").length < 40);
});

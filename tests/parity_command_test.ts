import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { writeSafetensors } from "../engine/safetensors.ts";
import { run } from "../train/commands/parity.ts";
import { hashValues } from "../train/parity/hash.ts";
import { withFolder } from "./temporary_folder.ts";

const SHAPE = [2, 3];
const input = (name: string) => ({ gen: "hash", seed: name, shape: SHAPE, offset: 0, scale: 1 });

/** An `ops` fixture with one addition; `change` alters its golden result. */
async function writeFixture(
  folder: string,
  name: string,
  change: (values: Float32Array) => void = () => {},
  manifest: Record<string, unknown> = {},
): Promise<void> {
  const [a, b] = ["a", "b"].map((seed) => hashValues(seed, 6, 0, 1));
  const sum = a.map((v, i) => v + b[i]);
  change(sum);
  const g = hashValues("g", 6, 0, 1);
  const spec = { shape: SHAPE, stored: "full", tol_abs: 1e-6 };
  const content = {
    fixture: name,
    kind: "ops",
    cases: [{ name: "c", op: "add", attrs: {}, inputs: ["a", "b"], grads: ["a"] }],
    inputs: { "c/a": input("a"), "c/b": input("b"), "c/G": input("g") },
    outputs: { "c/out": spec, "c/grad_a": spec },
    ...manifest,
  };
  await Deno.writeTextFile(`${folder}/${name}.manifest.json`, JSON.stringify(content));
  await writeSafetensors(`${folder}/${name}.safetensors`, [
    ["c/out", { shape: SHAPE, data: sum }],
    ["c/grad_a", { shape: SHAPE, data: g }],
  ]);
}

/** Runs the command with its output captured. */
async function parity(...args: string[]): Promise<{ code: number; lines: string[] }> {
  const lines: string[] = [];
  const log = console.log;
  console.log = (line: string) => lines.push(line);
  try {
    return { code: await run(args), lines };
  } finally {
    console.log = log;
  }
}

Deno.test("parity passes a fixture that agrees, and reports every comparison as JSON", () =>
  withFolder(async (folder) => {
    await writeFixture(folder, "good");
    const { code, lines } = await parity(folder, "--json", `${folder}/report.json`);
    equal(code, 0);
    ok(lines[0].startsWith("pass  good") && lines[0].includes("2 outputs"), lines[0]);
    equal(lines.at(-1), "1 passed, 0 failed");
    const [row] = JSON.parse(await Deno.readTextFile(`${folder}/report.json`));
    equal(row.passed, true);
    deepEqual(row.comparisons.map((c: { name: string }) => c.name), ["c/out", "c/grad_a"]);
  }));

Deno.test("parity names the report that it cannot write, after its verdict", () =>
  withFolder(async (folder) => {
    await writeFixture(folder, "good");
    const lines: string[] = [];
    const log = console.log;
    console.log = (line: string) => lines.push(line);
    try {
      await rejects(run([folder, "--json", `${folder}/missing/report.json`]), {
        name: "UserError",
        message: `Cannot write ${folder}/missing/report.json: its folder does not exist.`,
      });
    } finally {
      console.log = log;
    }
    equal(lines.at(-1), "1 passed, 0 failed");
  }));

Deno.test("parity fails where one element differs", () =>
  withFolder(async (folder) => {
    await writeFixture(folder, "bad", (values) => values[4] += 1e-3);
    await writeFixture(folder, "good");
    const { code, lines } = await parity(folder);
    equal(code, 1);
    ok(lines[0].startsWith("FAIL  bad") && lines[0].includes("c/out: values 1.0e-3"), lines[0]);
    equal(lines.at(-1), "1 passed, 1 failed");
    equal((await parity(folder, "--only", "goo")).code, 0);
    equal((await parity(folder, "--only", "b*")).code, 1);
  }));

Deno.test("parity fails where a declared output is not produced", () =>
  withFolder(async (folder) => {
    const spec = { shape: [1], stored: "full", tol_abs: 1 };
    await writeFixture(folder, "more", undefined, { outputs: { "c/extra": spec } });
    await writeSafetensors(`${folder}/more.safetensors`, [
      ["c/extra", { shape: [1], data: new Float32Array(1) }],
    ]);
    const { code, lines } = await parity(folder);
    equal(code, 1);
    ok(lines[0].includes("c/extra: this output is not produced"), lines[0]);
  }));

Deno.test("parity fails for unknown kinds, operators and configurations", () =>
  withFolder(async (folder) => {
    await writeFixture(folder, "kind", undefined, { kind: "dance" });
    const odd = [{ name: "c", op: "teleport", attrs: {}, inputs: [], grads: [] }];
    await writeFixture(folder, "op", undefined, { cases: odd });
    await writeFixture(folder, "track_x", undefined, {
      kind: undefined,
      weights: { prefix: "", config: "nowhere" },
    });
    const { code, lines } = await parity(folder);
    equal(code, 1);
    ok(lines[0].includes('kind "dance" are not supported'), lines[0]);
    ok(lines[1].includes('operator "teleport"') || lines[1].includes("not produced"), lines[1]);
    ok(lines[2].includes('no configuration "nowhere"'), lines[2]);
    equal(lines.at(-1), "0 passed, 3 failed");
  }));

Deno.test("parity fails for damaged files and for folders without fixtures", () =>
  withFolder(async (folder) => {
    equal((await parity(folder)).code, 1);
    await writeFixture(folder, "cut");
    await Deno.truncate(`${folder}/cut.safetensors`, 40);
    await Deno.writeTextFile(`${folder}/odd.manifest.json`, "{");
    const { code, lines } = await parity(folder);
    equal(code, 1);
    ok(lines[0].includes("cut.safetensors"), lines[0]);
    ok(lines[1].includes("Cannot read"), lines[1]);
    await rejects(parity(`${folder}/missing`), /Cannot read the folder/);
    await rejects(parity(), /folder/);
  }));

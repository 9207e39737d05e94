import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);

/** The layers in order: each knows only those before it. `bench` and `tests` know all. */
const LAYERS = ["shaders", "engine", "model", "train"];

/**
 * What specialisers may know of the engine, as types only: the adapter that they write for, and
 * shapes. These files know nothing of the shaders, so that no circle arises.
 */
const TYPES_FOR_SHADERS = new Set(["engine/device.ts", "engine/shape.ts", "engine/dtype.ts"]);

interface Import {
  readonly target: string;
  readonly typeOnly: boolean;
}

/** Texts of all source files by path from the project's folder. */
async function sources(): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  async function walk(folder: string): Promise<void> {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
      const path = folder + name;
      if (isDirectory) await walk(`${path}/`);
      else if (/\.(ts|wgsl)$/.test(name)) {
        texts.set(path, await Deno.readTextFile(new URL(path, ROOT)));
      }
    }
  }
  for (const folder of [...LAYERS, "bench", "tests"]) await walk(`${folder}/`);
  texts.set("mod.ts", await Deno.readTextFile(new URL("mod.ts", ROOT)));
  return texts;
}

const texts = await sources();

const STATIC =
  /^(?:import|export)\s+(type\s+)?(?:(?:\w+|\*(?:\s+as\s+\w+)?|\{[^}]*\})[\s,]+)*from\s+"([^"]+)"/gm;
const BARE = /^import\s+"([^"]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"/g;

function importsOf(path: string, text: string): Import[] {
  const found = [
    ...[...text.matchAll(STATIC)].map(([, type, target]) => ({ target, typeOnly: Boolean(type) })),
    ...[...text.matchAll(BARE), ...text.matchAll(DYNAMIC)]
      .map(([, target]) => ({ target, typeOnly: false })),
  ];
  return found.filter(({ target }) => target.startsWith(".")).map(({ target, typeOnly }) => ({
    target: fileURLToPath(new URL(target, new URL(path, ROOT))).slice(fileURLToPath(ROOT).length),
    typeOnly,
  }));
}

const imports = new Map(
  [...texts].filter(([path]) => path.endsWith(".ts"))
    .map(([path, text]) => [path, importsOf(path, text)]),
);

/** The first circle of imports that starts at a file, or `undefined`. */
function circle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const trail: string[] = [];
  function visit(path: string): string[] | undefined {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    trail.push(path);
    for (const next of graph.get(path) ?? []) {
      const found = visit(next);
      if (found) return found;
    }
    trail.pop();
    done.add(path);
    return undefined;
  }
  for (const path of graph.keys()) {
    const found = visit(path);
    if (found) return found;
  }
  return undefined;
}

Deno.test("source files import existing files when the path is relative", () => {
  const missing = [...imports].flatMap(([path, list]) =>
    list.filter(({ target }) => !texts.has(target)).map(({ target }) => `${path} -> ${target}`)
  );
  deepEqual(missing, []);
  ok([...imports.values()].flat().length > imports.size, "the imports were found");
});

Deno.test("circle() finds the files when imports go round", () => {
  const graph = new Map([["a", ["b"]], ["b", ["c", "d"]], ["c", []], ["d", ["b"]]]);
  deepEqual(circle(graph), ["b", "d", "b"]);
  graph.set("d", ["c"]);
  deepEqual(circle(graph), undefined);
});

Deno.test("source files form no circle when imports of types are left out", () => {
  const graph = new Map(
    [...imports].map(([path, list]) => [
      path,
      list.filter(({ typeOnly }) => !typeOnly).map(({ target }) => target),
    ]),
  );
  deepEqual(circle(graph), undefined);
});

Deno.test("a layer knows only those before it when it imports", () => {
  const layer = (path: string) => LAYERS.indexOf(path.split("/")[0]);
  const wrong: string[] = [];
  for (const [path, list] of imports) {
    if (layer(path) < 0) continue;
    for (const { target, typeOnly } of list) {
      const allowed = layer(target) >= 0 && layer(target) <= layer(path) ||
        path.startsWith("shaders/") && typeOnly && TYPES_FOR_SHADERS.has(target);
      if (!allowed) wrong.push(`${path} -> ${target}`);
    }
  }
  deepEqual(wrong, []);
});

Deno.test("source files fit in 400 lines when they are counted", () => {
  const long = [...texts].map(([path, text]) => [path, text.trimEnd().split("\n").length] as const)
    .filter(([, lines]) => lines > 400);
  deepEqual(long, []);
});

Deno.test("file names are snake_case when they are source files", () => {
  deepEqual([...texts.keys()].filter((path) => !/^[a-z0-9_/]+\.(ts|wgsl)$/.test(path)), []);
});

/** Spelled in halves, so that this file is not among the findings. */
const UNWANTED: readonly [what: string, pattern: RegExp][] = [
  ["something left open", new RegExp(["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|"))],
  [
    "a silenced check",
    new RegExp(["deno-lint" + "-ignore", "@ts" + "-(ignore|nocheck)"].join("|")),
  ],
  ["a path of one machine", /(?<![\w.])\/(work|home|root|Users)\/\w/],
];

for (const [what, pattern] of UNWANTED) {
  Deno.test(`source files are free of ${what} when each line is read`, () => {
    const found = [...texts].flatMap(([path, text]) =>
      text.split("\n").flatMap((line, i) =>
        pattern.test(line) ? [`${path}:${i + 1}: ${line.trim()}`] : []
      )
    );
    deepEqual(found, []);
  });
}

import { type Plan } from "../engine/compile/plan.ts";
import type { AdapterProfile } from "../engine/device.ts";
import {
  add,
  amax,
  argmax,
  conv2d,
  convTranspose2d,
  cumsum,
  gelu,
  indexSelect,
  interpolate,
  layerNorm,
  layerNorm2d,
  linear,
  logSoftmax,
  matmul,
  mul,
  padZeros,
  relu,
  scaledDotProductAttention,
  sigmoid,
  softmax,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { numel, type Shape } from "../engine/shape.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { planFor, withGradients } from "./plans.ts";

const FOLDER = new URL("snapshots/", import.meta.url);
const UPDATE = Boolean(Deno.env.get("UPDATE_SNAPSHOTS"));
const HOW = "if this is meant, run: UPDATE_SNAPSHOTS=1 deno test -A tests/snapshots_test.ts";

const COMMON = {
  maxInvocations: 256,
  workgroupBytes: 16384,
  maxBindings: 8,
  maxGrid: 65535,
  f16: true,
};

/** Adapters that nobody has: no plan below asks a real one. */
const PROFILES: Readonly<Record<string, AdapterProfile>> = {
  cpu: { ...COMMON, class: "cpu", software: true, lanes: 8, maxBindingBytes: 2 ** 27 },
  gpu: { ...COMMON, class: "gpu", software: false, lanes: 0, maxBindingBytes: 2 ** 27 },
};

let made = 0;
/** A leaf of its own: equal ones would be merged. */
const leaf = (...shape: Shape) => tensor(new Float32Array(numel(shape)).fill(++made), shape);

/** Plans whose sources are kept word for word: generated code, and the shortest templates. */
const WHOLE: Readonly<Record<string, () => Tensor[]>> = {
  chain: () => [
    relu(
      add(mul(transpose(leaf(12, 8), 0, 1), leaf(8, 1)), padZeros(leaf(6, 12), [[1, 1], [0, 0]])),
    ),
  ],
  maximum: () => [amax(sigmoid(add(leaf(5, 33), leaf(33))), 1)],
  position: () => [argmax(leaf(17, 3), 1)],
  softmax: () => [softmax(leaf(5, 33), 1)],
};

/** Plans of whose sources hashes are kept. */
const HASHED: Readonly<Record<string, () => Tensor[]>> = {
  ...WHOLE,
  "linear": () => {
    const layers = [0, 1, 2, 3].map(() => gelu(linear(leaf(40, 24), leaf(36, 24), leaf(36))));
    return layers;
  },
  "matmul": () => withGradients([leaf(2, 33, 17), leaf(17, 3)], (a, b) => matmul(a, b)),
  "long matmul": () => withGradients([leaf(64, 4096), leaf(4096, 96)], (a, b) => matmul(a, b)),
  "conv2d": () =>
    withGradients(
      [leaf(2, 8, 17, 17), leaf(12, 8, 3, 3), leaf(12)],
      (x, w, b) => conv2d(x, w, b, { padding: 1 }),
    ),
  "strided conv2d": () =>
    withGradients(
      [leaf(1, 3, 32, 32), leaf(16, 3, 7, 7)],
      (x, w) => conv2d(x, w, undefined, { stride: 4, padding: 3 }),
    ),
  "depthwise conv2d": () =>
    withGradients(
      [leaf(1, 16, 16, 16), leaf(16, 1, 7, 7)],
      (x, w) => conv2d(x, w, undefined, { padding: 3, groups: 16 }),
    ),
  "convTranspose2d": () =>
    withGradients(
      [leaf(1, 8, 8, 8), leaf(8, 4, 2, 2)],
      (x, w) => convTranspose2d(x, w, undefined, { stride: 2 }),
    ),
  "attention": () =>
    withGradients(
      [0, 1, 2].map(() => leaf(1, 2, 49, 32)),
      (q, k, v) => scaledDotProductAttention(q, k, v),
    ),
  "layerNorm": () =>
    withGradients([leaf(33, 96), leaf(96), leaf(96)], (x, w, b) => layerNorm(x, w, b, 1e-6)),
  "layerNorm2d": () =>
    withGradients([leaf(2, 16, 9, 9), leaf(16), leaf(16)], (x, w, b) => layerNorm2d(x, w, b, 1e-6)),
  "logSoftmax": () => withGradients([leaf(2, 4, 17)], (x) => logSoftmax(x, 1)),
  "cumsum": () => withGradients([leaf(3, 260)], (x) => cumsum(x, 1)),
  "interpolate": () =>
    withGradients([leaf(1, 4, 9, 9)], (x) => interpolate(x, { size: [16, 16], mode: "bilinear" })),
  "indexSelect": () =>
    withGradients([leaf(9, 12)], (x) => indexSelect(x, 0, tensor(Uint32Array.of(3, 0, 3, 8)))),
};

async function hashOf(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex().slice(0, 12);
}

/** A kernel with all that a dispatch of it depends on. */
async function lineOf(plan: string, { kernel, bindings }: Plan["steps"][number]): Promise<string> {
  const { source, label, grid, sizes } = kernel;
  const numbers = sizes
    ? ` ${Object.entries(sizes).map(([name, n]) => `${name}=${n}`).join(",")}`
    : "";
  return `${await hashOf(source)} ${plan}: ${label}, ${bindings.length} bindings, ` +
    `grid ${grid.join("x")}${numbers}`;
}

/** The files that there should be, by name. */
async function snapshots(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const [name, profile] of Object.entries(PROFILES)) {
    const lines: string[] = [];
    for (const [plan, build] of Object.entries(HASHED)) {
      for (const step of planFor(build(), profile).steps) lines.push(await lineOf(plan, step));
    }
    files.set(`${name}.txt`, lines.join("\n") + "\n");
    for (const [plan, build] of Object.entries(WHOLE)) {
      const { steps } = planFor(build(), profile);
      files.set(`${name}_${plan}.wgsl`, steps.map(({ kernel }) => kernel.source).join("\n"));
    }
  }
  return files;
}

async function update(files: ReadonlyMap<string, string>): Promise<void> {
  await Deno.mkdir(FOLDER, { recursive: true });
  for await (const { name } of Deno.readDir(FOLDER)) {
    if (!files.has(name)) await Deno.remove(new URL(name, FOLDER));
  }
  for (const [name, text] of files) await Deno.writeTextFile(new URL(name, FOLDER), text);
}

const wanted = await snapshots();
if (UPDATE) await update(wanted);

Deno.test("the folder of snapshots holds those that are compared, and no others", () => {
  const there = [...Deno.readDirSync(FOLDER)].map(({ name }) => name).sort();
  deepEqual(there, [...wanted.keys()].sort(), HOW);
});

for (const [name, text] of wanted) {
  Deno.test(`kernels of plans are those of the snapshot ${name} when no adapter is asked`, async () => {
    const kept = await Deno.readTextFile(new URL(name, FOLDER));
    const [before, now] = [kept.split("\n"), text.split("\n")];
    const at = now.findIndex((line, i) => line !== before[i]);
    ok(at < 0, `${name}, line ${at + 1}: "${now[at]}" instead of "${before[at]}"; ${HOW}`);
    equal(now.length, before.length, HOW);
  });
}

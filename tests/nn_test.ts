/** Modules, their keys, initial values and state dicts. */
import {
  deepStrictEqual as deepEqual,
  notDeepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { randomKey, read, readAll, type Tensor, tensor } from "../engine/mod.ts";
import {
  BatchNorm2d,
  Conv2d,
  ConvTranspose2d,
  Embedding,
  filledWith,
  initialise,
  initialValues,
  Linear,
  loadStateDict,
  MLP,
  Module,
  normal,
  Parameter,
  seededRandom,
  stateDict,
  StateDictError,
  Training,
  truncatedNormal,
} from "../engine/nn/mod.ts";
import { close } from "./close.ts";

class Leafy extends Module {
  readonly child: Linear;
  readonly heads: readonly Linear[];
  readonly stages: { readonly 3: Embedding; readonly 1: Embedding };
  readonly missing: Linear | undefined;
  readonly scale: Parameter;
  readonly notes = { title: "not a module" };

  constructor() {
    super();
    this.child = new Linear(2, 3, { bias: false });
    this.heads = [new Linear(1, 1, { bias: false }), new Linear(1, 1, { bias: false })];
    this.stages = { 3: new Embedding(1, 2), 1: new Embedding(1, 2) };
    this.missing = undefined;
    this.scale = new Parameter([4], filledWith(2));
  }
}

const keys = (module: Module) => module.namedParameters().map(([key]) => key);

Deno.test("namedParameters() lists own parameters first, then arrays and records of modules", () => {
  deepEqual(keys(new Leafy()), [
    "scale",
    "child.weight",
    "heads.0.weight",
    "heads.1.weight",
    "stages.1.weight",
    "stages.3.weight",
  ]);
});

Deno.test("initialValues() draws weights and biases within the bound of their fan-in", () => {
  const bounds: [Module, number][] = [
    [new Linear(16, 40), 1 / 4],
    [new Conv2d(8, 30, 3, { groups: 2 }), 1 / 6],
    // PyTorch takes outputs x kernel area here.
    [new ConvTranspose2d(3, 9, 2), 1 / 6],
  ];
  for (const [module, bound] of bounds) {
    for (const [key, parameter] of module.namedParameters()) {
      const largest = Math.max(...initialValues(key, parameter, 1).map(Math.abs));
      ok(largest <= bound && largest > bound / 2, `${module.constructor.name} ${key}: ${largest}`);
    }
  }
});

Deno.test("initialValues() depends on the key and the seed only", () => {
  const { weight } = new Linear(4, 4);
  deepEqual(initialValues("a", weight, 7), initialValues("a", new Linear(4, 4).weight, 7));
  notDeepEqual(initialValues("a", weight, 7), initialValues("b", weight, 7));
  notDeepEqual(initialValues("a", weight, 7), initialValues("a", weight, 8));
});

Deno.test("normal() and truncatedNormal() have the spread that was asked for", () => {
  for (const [initialiser, std] of [[normal(0.5), 0.5], [truncatedNormal(1), 0.88]] as const) {
    const values = initialiser([20000], seededRandom(3));
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    // Four standard errors of 20,000 draws.
    ok(Math.abs(mean) < 0.03 * std, `mean ${mean}`);
    ok(Math.abs(spread - std) < 0.03 * std, `spread ${spread}`);
  }
  ok(truncatedNormal(1)([20000], seededRandom(3)).every((v) => Math.abs(v) <= 2));
});

Deno.test("loadStateDict() names every difference and copies nothing when keys do not fit", async () => {
  const module = new Linear(2, 3);
  const zeros = (...shape: number[]) => ({ shape, data: new Float32Array(6) });
  const wrong = new Map([["weight", zeros(3, 2)], ["extra", zeros(6)]]);
  await rejects(loadStateDict(module, wrong), (error: unknown) => {
    ok(error instanceof StateDictError);
    deepEqual(error.difference, { missing: ["bias"], unexpected: ["extra"], mismatched: [] });
    ok(error.message.includes("1 missing (bias); 1 unexpected (extra)"), error.message);
    return true;
  });
  const stored = () => module.weight.host?.length ?? 0;
  equal(stored(), 0);
  const difference = await loadStateDict(module, wrong, { strict: false });
  deepEqual(difference.missing, ["bias"]);
  equal(stored(), 6);
});

Deno.test("loadStateDict() refuses other shapes even when not strict", async () => {
  const turned = new Map([["weight", { shape: [2, 3], data: new Float32Array(6) }]]);
  await rejects(
    loadStateDict(new Linear(2, 3), turned, { strict: false }),
    /1 of another shape \(weight: \[2, 3\] instead of \[3, 2\]\)/,
  );
});

Deno.test("loadStateDict() refuses values that do not fill their shape", async () => {
  const short = new Map([["weight", { shape: [3, 2], data: new Float32Array(5) }]]);
  await rejects(
    loadStateDict(new Linear(2, 3), short, { strict: false }),
    /^RangeError: weight has 5 values; shape \[3, 2\] has 6\.$/,
  );
});

Deno.test("layers refuse sizes that make no sense", () => {
  throws(() => new Linear(0, 3), /^RangeError: Parameter: a size is 0, not a whole number/);
  throws(() => new Conv2d(3, 4, 3, { groups: 2 }), /^RangeError: Parameter: a size is 1.5/);
  throws(() => new MLP(2, 3, 4, 0), /^RangeError: MLP: the depth is 0/);
});

Deno.test("stateDict() returns what loadStateDict() stored", async () => {
  const [from, to] = [new Leafy(), new Leafy()];
  await initialise(from, 5);
  const values = await stateDict(from);
  await loadStateDict(to, values);
  deepEqual(await stateDict(to), values);
  deepEqual([...values.keys()], keys(from));
});

Deno.test("MLP applies the activation between layers, and a sigmoid at the end when asked", async () => {
  const x = tensor([0.5, -1.5], [1, 2]);
  const mlp = new MLP(2, 2, 1, 2, { sigmoidOutput: true });
  const values: Record<string, number[]> = {
    "layers.0.weight": [1, 2, -3, 4],
    "layers.0.bias": [3, 1],
    "layers.1.weight": [2, -1],
    "layers.1.bias": [-0.25],
  };
  const entries = mlp.namedParameters().map(([key, { shape }]) =>
    [key, { shape, data: Float32Array.from(values[key]) }] as const
  );
  await loadStateDict(mlp, new Map(entries));
  const hidden = Math.max(0, 0.5 - 3 + 3);
  const expected = 1 / (1 + Math.exp(-(2 * hidden - Math.max(0, -1.5 - 6 + 1) - 0.25)));
  close(await read(mlp.forward(x)), [expected], 1e-6, "MLP");
});

Deno.test("Embedding returns the rows of its table", async () => {
  const table = new Embedding(3, 2);
  table.weight.host = Float32Array.of(0, 1, 10, 11, 20, 21);
  const rows = table.forward(tensor(Uint32Array.of(2, 0)));
  deepEqual([...await read(rows)], [20, 21, 0, 1]);
});

Deno.test("BatchNorm2d normalises with the batch and hands out moved statistics when training", async () => {
  const norm = new BatchNorm2d(1);
  await initialise(norm, 0);
  const x = tensor([1, 2, 3, 6], [2, 1, 1, 2]);
  const training = new Training(randomKey(0));
  const y = norm.forward(x, training);
  const updates = [norm.running_mean, norm.running_var].map((p) => training.updates.get(p)!);
  const [out, mean, variance] = await readAll([y, ...updates]);
  const rstd = 1 / Math.sqrt(3.5 + 1e-5);
  close(out, [-2, -1, 0, 3].map((d) => d * rstd), 1e-6, "normalised");
  close(mean, [0.3], 1e-6, "running mean");
  // 0.9 of the initial 1, and 0.1 of the unbiased variance.
  close(variance, [0.9 + 0.1 * 14 / 3], 1e-6, "running variance");
  // The running statistics are still 0 and 1; the epsilon inside the root is 1e-5.
  close(await read(norm.forward(x)), [1, 2, 3, 6], 1e-5, "evaluation");
});

Deno.test("BatchNorm2d moves its statistics with every batch of a pass", async () => {
  const norm = new BatchNorm2d(1);
  await initialise(norm, 0);
  const training = new Training(randomKey(0));
  for (const scale of [1, 10]) {
    norm.forward(tensor([1, 2, 3, 4].map((v) => v * scale), [1, 1, 2, 2]), training);
  }
  const moved = [norm.running_mean, norm.running_var].map((p) => training.valueOf(p));
  const [mean, variance] = await readAll(moved);
  // From PyTorch.
  close(mean, [2.725], 1e-6, "running mean");
  close(variance, [17.6267], 1e-5, "running variance");
});

Deno.test("Training.dropout() draws anew with every use, and the same again from the same key", async () => {
  const x = tensor(new Float32Array(256).fill(1));
  const draw = (): Tensor[] => {
    const training = new Training(randomKey(11, 2));
    return [training.dropout(x, 0.25), training.dropout(x, 0.25), training.dropout(x, 0)];
  };
  const [first, second, untouched] = await readAll(draw());
  const again = await readAll(draw());
  deepEqual([first, second], again.slice(0, 2));
  notDeepEqual(first, second);
  ok(untouched.every((v) => v === 1));
  ok(first.every((v) => v === 0 || Math.abs(v - 4 / 3) < 1e-6));
});

import { type Access, withAccess } from "../shaders/access.ts";
import { type Kernel, type Lowering, storage } from "../shaders/kernel.ts";
import { lowerLayerNorm } from "../shaders/layer_norm.ts";
import { lowerMatmul } from "../shaders/matmul.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";
import { ok, strictEqual as equal, throws } from "node:assert/strict";

const HALF: Access = { element: "f16" };

function kernelOf(statements: string, ...types: string[]): Kernel {
  const declared = types.map((type, i) => storage(i, "abc"[i], type)).join("\n");
  return {
    label: "test",
    source: `${declared}\nfn main() {\n  ${statements}\n}\n`,
    grid: [1, 1, 1],
  };
}

/** What the pass makes of statements. */
const rewritten = (statements: string, access: Access, type = "f32") =>
  withAccess(kernelOf(statements, type, "u32"), [access]).source
    .match(/fn main\(\) \{\n {2}([^]*)\n\}\n$/)![1];

Deno.test("withAccess() leaves a kernel as it is when no binding is special", () => {
  const kernel = kernelOf("a[0] = a[1];", "f32");
  equal(withAccess(kernel, []), kernel);
  equal(withAccess(kernel, [undefined]), kernel);
  equal(withAccess(kernel, [{ windows: 1 }]), kernel);
});

Deno.test("withAccess() rewrites reads and stores when elements are f16", () => {
  const cases = [
    ["let x = a[i] + a[i + 1u];", "let x = f32(a[i]) + f32(a[i + 1u]);"],
    ["a[i] = 2.0 * x;", "a[i] = f16(2.0 * x);"],
    ["a[b[i]] += a[j];", "a[b[i]] = f16(f32(a[b[i]]) + (f32(a[j])));"],
    [
      "if (a[i] <= 1.0) { a[u32(a[j])] = f(a[k], 1.0); }",
      "if (f32(a[i]) <= 1.0) { " +
      "a[u32(f32(a[j]))] = f16(f(f32(a[k]), 1.0)); }",
    ],
    ["let e = a[i] == 0.0;", "let e = f32(a[i]) == 0.0;"],
    [
      "for (var i = 0u; i < 3u; a[i] -= 1.0) {}",
      "for (var i = 0u; i < 3u; a[i] = " +
      "f16(f32(a[i]) - (1.0))) {}",
    ],
    ["let y = s.a[0] + ab[1] & a;", "let y = s.a[0] + ab[1] & a;"],
  ];
  for (const [from, to] of cases) equal(rewritten(from, HALF), to);
  equal(rewritten("a[i / 4u] = a[j];", HALF, "vec4f"), "a[i / 4u] = vec4<f16>(vec4f(a[j]));");
  equal(rewritten("let z = a[j].x;", HALF, "vec4<f32>"), "let z = vec4<f32>(a[j]).x;");
  const { source } = withAccess(kernelOf("", "vec4f", "u32"), [HALF]);
  ok(source.startsWith(`enable f16;\n${storage(0, "a", "vec4<f16>")}\n${storage(1, "b", "u32")}`));
});

Deno.test("withAccess() declares windows after all bindings when there are several", () => {
  const text = withAccess(kernelOf("c[a[i]] = b[c[j]];", "u32", "f32", "u32"), [
    { windows: 2 },
    undefined,
    { windows: 3 },
  ]).source;
  for (
    const [binding, name] of [[0, "a"], [3, "a_window1"], [1, "b"], [2, "c"], [4, "c_window1"], [
      5,
      "c_window2",
    ]] as const
  ) ok(text.includes(storage(binding, name, name === "b" ? "f32" : "u32")), name);
  ok(text.includes("c_write(a_read(i), b[c_read(j)]);"));
  const half = withAccess(kernelOf("a[i] *= 2.0;", "f32"), [{ windows: 2, element: "f16" }]).source;
  ok(half.includes("a_write(i, a_read(i) * (2.0));"));
  ok(half.includes("return f32(a_window1[i]);"));
  ok(half.includes("a_window1[i] = f16(a_value);"));
  const later = withAccess(withAccess(kernelOf("a[i] *= 2.0;", "vec4f"), [HALF]), [{ windows: 2 }]);
  ok(later.source.startsWith("enable f16;"));
  ok(later.source.includes("fn a_read(a_at: u32) -> vec4<f16>"));
  ok(later.source.includes("a_write(i, vec4<f16>(vec4f(a_read(i)) * (2.0)));"));
});

Deno.test("withAccess() names kernel and binding when a use cannot be rewritten", () => {
  const cases: [string, string, RegExp][] = [
    [
      "let n = arrayLength(&a);",
      "f32",
      /^Error: test: the use &a\); of the binding a is none that f16 storage, windows and words allow/,
    ],
    ["let p = &a[0];", "f32", /the use &a\[0\]/],
    ["a[i].x = 1.0;", "vec4f", /the use a\[i\]\.x = 1/],
    ["a[i][j] = 1.0;", "vec4f", /of the binding a/],
    ["a[i]++;", "f32", /of the binding a/],
    ["let a = vec4f(); let y = a[0];", "f32", /the use let a of the binding a/],
    ["a[i = 1.0;", "f32", /not closed/],
    ["", "u32", /^Error: test: a of type u32 can be neither f16/],
    ["", "atomic<u32>", /^Error: test: a of type atomic<u32>/],
  ];
  for (const [statements, type, message] of cases) {
    throws(() => rewritten(statements, HALF, type), message);
  }
  throws(() => withAccess(kernelOf("", "f32"), [undefined, HALF]), /test: there is no binding 1/);
});

/** The bits of values rounded to f16, and what these are as f32. */
function halves(data: Float32Array): { stored: Uint32Array; rounded: Float32Array } {
  const padded = new Float16Array(Math.ceil(data.length / 2) * 2);
  padded.set(data);
  return {
    stored: new Uint32Array(padded.buffer),
    rounded: Float32Array.from(data, Math.f16round),
  };
}

/** The same dispatches with bindings of f16: those whose arguments are told, and the epilogue's. */
function inHalf({ steps, scratch }: Lowering, chosen: readonly string[]): Lowering {
  return {
    scratch: scratch ?? [],
    steps: steps.map(({ kernel, args }) => ({
      args,
      kernel: withAccess(kernel, args.map((arg) => chosen.includes(arg) ? HALF : undefined)),
    })),
  };
}

const unpack = (words: Float32Array, n: number) =>
  Float32Array.from(new Float16Array(words.buffer, words.byteOffset, n));

for (const schedule of SCHEDULES) {
  Deno.test(`a product of f16 is that of rounded factors when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [m, k, n] of [[17, 33, 3], [36, 64, 40], [1, 1, 1], [3, 2051, 12]]) {
      for (const transB of [false, true]) {
        const shape = { batchA: 1, batchB: 1, m, k, n, transA: false, transB };
        const lowering = lowerMatmul(shape, device.profile, SCALE_AND_ADD);
        const [a, b, extra] = [m * k, k * n, m * n].map((size, i) => halves(values(size, i)));
        const [expected] = await runLowering(device, lowering, [a.rounded, b.rounded], [m * n], [
          extra.rounded,
        ]);
        const half = inHalf(lowering, ["in0", "in1", "out0", "epilogue"]);
        const [out] = await runLowering(
          device,
          half,
          [a.stored, b.stored],
          [Math.ceil(m * n / 2)],
          [extra.stored],
        );
        // Sums are the same in f32; only the results are rounded.
        const { label } = lowering.steps[0].kernel;
        close(unpack(out, m * n), expected.map(Math.f16round), 0, `${label} in f16`);
      }
    }
  });

  Deno.test(`a layer norm of f16 is that of rounded rows when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [outer, size, inner] of [[3, 3, 1], [17, 33, 1], [5, 96, 1], [2, 17, 12]]) {
      const n = outer * size * inner;
      const lowering = lowerLayerNorm({ outer, size, inner }, 1e-5, device.profile);
      const [x, weight, bias] = [n, size, size].map((length, i) => halves(values(length, i)));
      const inputs = [x.rounded, weight.rounded, bias.rounded];
      const outputs = [n, outer * inner, outer * inner];
      const [expected, , rstd] = await runLowering(device, lowering, inputs, outputs);
      // Statistics stay in f32.
      const half = inHalf(lowering, ["in0", "in1", "in2", "out0"]);
      const [y, , own] = await runLowering(
        device,
        half,
        [x.stored, weight.stored, bias.stored],
        [Math.ceil(n / 2), ...outputs.slice(1)],
      );
      const { label } = lowering.steps[0].kernel;
      close(unpack(y, n), expected.map(Math.f16round), 0, `${label} in f16`);
      close(own, rstd, 0, `${label}: deviations`);
    }
  });
}

import { type Kernel, storage } from "../shaders/kernel.ts";
import { withWords } from "../shaders/words.ts";
import { match, ok, strictEqual as equal, throws } from "node:assert/strict";
import { deviceFor, runLowering } from "./kernel_harness.ts";

function kernelOf(statements: string, type = "vec4f"): Kernel {
  const source = `${storage(0, "a", type)}\n${storage(1, "b")}\n` +
    `@compute @workgroup_size(8)\nfn main(@builtin(local_invocation_index) i: u32) {\n  ${statements}\n}\n`;
  return { label: "test", source, grid: [1, 1, 1] };
}

/** What the pass makes of statements. */
const rewritten = (statements: string, type?: string) =>
  withWords(kernelOf(statements, type)).match(/u32\) \{\n {2}([^]*?)\n\}\n/)![1];

Deno.test("withWords() rewrites reads and stores of vec4s and nothing else", () => {
  equal(rewritten("b[i] = a[i + 1u].x;"), "b[i] = from_words(a[i + 1u]).x;");
  equal(rewritten("a[i] = 2.0 * a[j];"), "a[i] = to_words(2.0 * from_words(a[j]));");
  equal(rewritten("a[i] += x;", "vec4<f32>"), "a[i] = to_words(from_words(a[i]) + (x));");
  equal(rewritten("if (i < arrayLength(&a)) { return; }"), "if (i < arrayLength(&a)) { return; }");
  match(withWords(kernelOf("a[i] = vec4f();")), /var<storage, read_write> a: array<vec2<u64>>;/);
  for (const type of ["f32", "vec4u", "vec4<f16>"]) {
    const kernel = kernelOf("a[i] = a[0];", type);
    equal(withWords(kernel), kernel.source);
  }
  throws(() => withWords(kernelOf("a[i].x = 1.0;")), /test: the use a\[i\]\.x = 1/);
});

Deno.test("withWords() keeps all bits when kernels copy, NaN and the smallest numbers included", async () => {
  const device = await deviceFor("cpu");
  ok(device.profile.words !== undefined);
  const bits = Uint32Array.from({ length: 32 }, (_, i) =>
    [
      [0x3f800000, 0x80000000, 0x7fc00001, 0xff800000][i % 4],
      (0x00000001 << i) >>> 0,
    ][i % 2]);
  const kernel = {
    ...kernelOf("result[i] = a[i];"),
    source: `${storage(0, "a", "vec4f")}\n${storage(1, "result", "vec4f")}
@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) i: u32) { result[i] = a[i]; }`,
  };
  const lowering = { steps: [{ kernel, args: ["in0", "out0"] as const }] };
  const [copied] = await runLowering(device, lowering, [bits], [32]);
  equal(new Uint32Array(copied.buffer).join(), bits.join());
});

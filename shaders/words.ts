/**
 * Bindings of vec4s as words of 64 bits. llvmpipe goes through what a subgroup reads or writes word by
 * word, each of them lane by lane, and takes as long for 64 bits as for 32: a vec4f in two words takes
 * two thirds of the time that it takes in four.
 */
import type { Kernel } from "./kernel.ts";
import { type Declaration, declarationsOf, Rewriter, type Target } from "./rewriter.ts";
import { textOf } from "./template.ts";

const VECTORS = ["vec4f", "vec4<f32>"];

const FUNCTIONS = `
fn from_words(x: vec2<u64>) -> vec4f {
  return bitcast<vec4f>(vec4u(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}
fn to_words(value: vec4f) -> vec2<u64> {
  let x = bitcast<vec4u>(value);
  return vec2<u64>(u64(x.x) | u64(x.y) << 32u, u64(x.z) | u64(x.w) << 32u);
}
`;

const asWords = (found: Declaration): Target => ({
  ...found,
  stored: "vec2<u64>",
  load: (element) => `from_words(${element})`,
  store: (value) => `to_words(${value})`,
  counted: true,
  windows: 1,
});

/** The text of a kernel with its bindings of vec4s as words, for devices with integers of 64 bits. */
export function withWords({ label, source }: Kernel): string {
  return textOf(`words ${source}`, () => {
    const targets = declarationsOf(source).filter(({ type }) => VECTORS.includes(type)).map(
      asWords,
    );
    if (targets.length === 0) return source;
    const rewriter = new Rewriter(label, new Map(targets.map((target) => [target.name, target])));
    const text = targets.reduce(
      (all, { text, type, stored }) =>
        all.replace(text, () => text.replace(`array<${type}>`, `array<${stored}>`)),
      rewriter.rewrite(source),
    );
    return text + FUNCTIONS;
  });
}

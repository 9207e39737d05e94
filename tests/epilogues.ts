/** Epilogues that kernel tests fold into stores. */
import type { Epilogue } from "../shaders/kernel.ts";

/** `2 * value + extra[index]`, where `extra` has the size of the output. */
export const SCALE_AND_ADD: Epilogue = {
  declarations: (binding) =>
    `@group(0) @binding(${binding}) var<storage, read_write> extra: array<f32>;`,
  apply: (index, value, width) => ({
    statements: width === 1
      ? `let more = extra[${index}];`
      : `let at = ${index}; let more = vec4f(extra[at], extra[at + 1u], extra[at + 2u], extra[at + 3u]);`,
    value: `(2.0 * ${value} + more)`,
  }),
};

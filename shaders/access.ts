/**
 * How a kernel reaches its bindings, apart from what it computes. Kernels are written once, for
 * `array<f32>` (or vec4f, u32, i32) in one buffer; {@link withAccess} rewrites their text where a
 * tensor is stored as f16, or is larger than a binding may be.
 */
import type { Kernel } from "./kernel.ts";
import { declarationsOf, Rewriter, type Target } from "./rewriter.ts";
import { textOf } from "./template.ts";

/** How one binding is reached. */
export interface Access {
  /**
   * `f16`: elements are stored as f16 (or vec4<f16>), and computed with as f32; `rounded`: they are
   * stored as f32, and read as if they were f16.
   */
  readonly element?: "f16" | "rounded" | undefined;
  /**
   * Bindings that the tensor is cut into, one after another in its memory; 1 where it is left out. All
   * but the last have the same length, a multiple of 16 bytes.
   */
  readonly windows?: number | undefined;
}

/** What f16 storage makes of a type that is computed with. */
const HALVES: Readonly<Record<string, string>> = {
  "f32": "f16",
  "vec4f": "vec4<f16>",
  "vec4<f32>": "vec4<f16>",
};

/**
 * `kernel` with its bindings reached as `accesses` tells, by binding number; what is `undefined`, or
 * beyond the end, stays as it is. The further windows of bindings are numbered after all bindings of
 * the kernel, those of the first such binding first.
 *
 * Of a binding `x` that is reached in another way, a text may read `x[i]` and store `x[i] = v` or
 * `x[i] += v` (or another operator), with `i` a `u32`; parts of a vec4 may be read, not stored.
 *
 * @throws {Error} where it uses such a binding otherwise.
 */
export function withAccess(kernel: Kernel, accesses: readonly (Access | undefined)[]): Kernel {
  const special = accesses.some((access) => access?.element || (access?.windows ?? 1) > 1);
  if (!special) return kernel;
  const key = `access ${JSON.stringify(accesses)} ${kernel.source}`;
  return { ...kernel, source: textOf(key, () => rewrite(kernel, accesses)) };
}

/** What lies in memory for an element of a type, and how it is read and written. */
function conversion(
  type: string,
  element: Access["element"],
): Pick<Target, "stored" | "load" | "store"> {
  const half = HALVES[type];
  const same = (text: string) => text;
  if (element === "f16") {
    return { stored: half, load: (e) => `${type}(${e})`, store: (v) => `${half}(${v})` };
  }
  const load = element === "rounded" ? (e: string) => `${type}(${half}(${e}))` : same;
  return { stored: type, load, store: same };
}

function rewrite(kernel: Kernel, accesses: readonly (Access | undefined)[]): string {
  const declared = declarationsOf(kernel.source);
  const targets = new Map<string, Target>();
  accesses.forEach((access, binding) => {
    const windows = access?.windows ?? 1;
    if (!access?.element && windows === 1) return;
    const found = declared.find((declaration) => declaration.binding === binding);
    if (!found) throw new Error(`${kernel.label}: there is no binding ${binding}.`);
    targets.set(found.name, { ...found, ...conversion(found.type, access?.element), windows });
  });
  const rewriter = new Rewriter(kernel.label, targets);
  let next = Math.max(accesses.length, ...declared.map(({ binding }) => binding + 1));
  let source = rewriter.rewrite(kernel.source);
  for (const target of targets.values()) {
    source = source.replace(target.text, () => declarationOf(kernel.label, target, next));
    next += target.windows - 1;
  }
  const half = accesses.some((access) => access?.element) && !source.includes("enable f16;");
  return half ? `enable f16;\n${source}` : source;
}

/** Declarations of a target: its windows, and the functions that choose among them. */
function declarationOf(label: string, target: Target, firstExtra: number): string {
  const { binding, name, type, stored, windows } = target;
  if (!stored || type.includes("atomic")) {
    throw new Error(`${label}: ${name} of type ${type} can be neither f16 nor cut into windows.`);
  }
  const names = Array.from({ length: windows }, (_, k) => k === 0 ? name : `${name}_window${k}`);
  const bindings = names.map((window, k) =>
    `@group(0) @binding(${k === 0 ? binding : firstExtra + k - 1}) ` +
    `var<storage, read_write> ${window}: array<${stored}>;`
  );
  if (windows === 1) return bindings[0];
  const chosen = (use: (window: string) => string) =>
    names.map((window, k) =>
      k === windows - 1
        ? `  ${use(window)}`
        : `  if (i < arrayLength(&${window})) { ${use(window)} }\n  i -= arrayLength(&${window});`
    ).join("\n");
  const read = chosen((window) => `return ${target.load(`${window}[i]`)};`);
  const write = chosen((window) => `${window}[i] = ${target.store(`${name}_value`)}; return;`);
  // A binding may have the plain name of a parameter.
  return `${bindings.join("\n")}
fn ${name}_read(${name}_at: u32) -> ${type} {
  var i = ${name}_at;
${read}
}
fn ${name}_write(${name}_at: u32, ${name}_value: ${type}) {
  var i = ${name}_at;
${write}
}`;
}

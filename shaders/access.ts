/**
 * How a kernel reaches its bindings, apart from what it computes. Kernels are written once, for
 * `array<f32>` (or vec4f, u32, i32) in one buffer; {@link withAccess} rewrites their text where a
 * tensor is stored as f16, or is larger than a binding may be.
 */
import type { Kernel } from "./kernel.ts";
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

/** A declaration of a storage binding in a kernel's text. */
interface Declaration {
  readonly text: string;
  readonly binding: number;
  readonly name: string;
  readonly type: string;
}

/** A binding that is reached in another way than the text says. */
interface Target extends Declaration {
  readonly f16: boolean;
  readonly rounded: boolean;
  readonly windows: number;
}

const DECLARATION =
  /@group\(0\) @binding\((\d+)\) var<storage, read_write> (\w+): array<([\w<>]+)>;/g;

const declarationsOf = (source: string): Declaration[] =>
  [...source.matchAll(DECLARATION)].map(([text, binding, name, type]) => ({
    text,
    binding: Number(binding),
    name,
    type,
  }));

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

function rewrite(kernel: Kernel, accesses: readonly (Access | undefined)[]): string {
  const declared = declarationsOf(kernel.source);
  const targets = new Map<string, Target>();
  accesses.forEach((access, binding) => {
    const windows = access?.windows ?? 1;
    if (!access?.element && windows === 1) return;
    const found = declared.find((declaration) => declaration.binding === binding);
    if (!found) throw new Error(`${kernel.label}: there is no binding ${binding}.`);
    targets.set(found.name, {
      ...found,
      f16: access?.element === "f16",
      rounded: access?.element === "rounded",
      windows,
    });
  });
  const rewriter = new Rewriter(kernel.label, targets);
  let next = Math.max(accesses.length, ...declared.map(({ binding }) => binding + 1));
  let source = rewriter.rewrite(kernel.source);
  for (const target of targets.values()) {
    source = source.replace(target.text, () => declarationOf(kernel.label, target, next));
    next += target.windows - 1;
  }
  const half = [...targets.values()].some(({ f16, rounded }) => f16 || rounded) &&
    !source.includes("enable f16;");
  return half ? `enable f16;\n${source}` : source;
}

/** Declarations of a target: its windows, and the functions that choose among them. */
function declarationOf(label: string, target: Target, firstExtra: number): string {
  const { binding, name, type, f16, windows } = target;
  const stored = f16 ? HALVES[type] : type;
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
  const read = chosen((window) => `return ${loaded(target, window, "i")};`);
  const write = chosen((window) => `${stores(target, window, "i", "value")}; return;`);
  return `${bindings.join("\n")}
fn ${name}_read(index: u32) -> ${type} {
  var i = index;
${read}
}
fn ${name}_write(index: u32, value: ${type}) {
  var i = index;
${write}
}`;
}

function loaded({ type, f16, rounded }: Target, name: string, index: string): string {
  const element = `${name}[${index}]`;
  if (rounded) return `${type}(${HALVES[type]}(${element}))`;
  return f16 ? `${type}(${element})` : element;
}

const stores = ({ type, f16 }: Target, name: string, index: string, value: string) =>
  `${name}[${index}] = ${f16 ? `${HALVES[type]}(${value})` : value}`;

/** An assignment behind an indexed name: its operator, or "" for a plain one. */
const ASSIGNMENT = /^\s*(<<|>>|[-+*/%&|^])?=(?!=)/;
/** An assignment to a part of an element, an increment or a decrement. */
const PARTIAL = /^\s*(?:(?:\.\w+|\[[^\]]*\])+\s*(?:<<|>>|[-+*/%&|^])?=(?!=)|\+\+|--)/;

/** Rewrites the uses of targets in a text. */
class Rewriter {
  private readonly uses: RegExp;

  constructor(private readonly label: string, private readonly targets: Map<string, Target>) {
    this.uses = new RegExp(`\\b(?:${[...targets.keys()].join("|")})\\b`, "g");
  }

  private refuse(name: string, use: string): never {
    throw new Error(
      `${this.label}: the use ${
        use.split("\n")[0].trim()
      } of the binding ${name} is none that f16 storage and ` +
        "windows allow.",
    );
  }

  /** A whole kernel; declarations of the targets stay. */
  rewrite(source: string): string {
    for (const { 0: head, index } of source.matchAll(/\bfn \w+\([^{]*/g)) {
      this.checkNames(source.slice(index, closing(source, index + head.length)));
    }
    return this.code(source);
  }

  /** Refuses a function that indexes a name which it gives to something of its own. */
  private checkNames(body: string): void {
    for (const name of this.targets.keys()) {
      const own = new RegExp(`\\b(?:let|var|const)\\s+${name}\\b|[(,]\\s*${name}\\s*:`).exec(body);
      if (own && new RegExp(`(?<![.\\w])${name}\\s*\\[`).test(body)) this.refuse(name, own[0]);
    }
  }

  /** Statements or an expression. */
  private code(text: string): string {
    let result = "";
    let at = 0;
    const uses = new RegExp(this.uses);
    for (let use = uses.exec(text); use; use = uses.exec(text)) {
      const after = use.index + use[0].length;
      result += text.slice(at, use.index);
      const { code, end } = this.use(text, use[0], use.index, after);
      result += code;
      at = uses.lastIndex = end;
    }
    return result + text.slice(at);
  }

  /** What becomes of the use of `name` at `start`, and where the text goes on. */
  private use(text: string, name: string, start: number, after: number) {
    const kept = { code: name, end: after };
    if (text[start - 1] === ".") return kept;
    if (/(?<!&)&$/.test(text.slice(Math.max(0, start - 2), start))) {
      this.refuse(name, text.slice(start - 1, after + 8));
    }
    // A binding is an array without a fixed length: where it is not indexed, the name means another.
    const open = after + text.slice(after).search(/\S|$/);
    if (text[open] !== "[") return kept;
    const close = closing(text, open);
    const rest = text.slice(close + 1);
    if (PARTIAL.test(rest)) this.refuse(name, text.slice(start, close + 9));
    const target = this.targets.get(name)!;
    const index = this.code(text.slice(open + 1, close));
    const read = target.windows > 1 ? `${name}_read(${index})` : loaded(target, name, index);
    const assigned = ASSIGNMENT.exec(rest);
    if (!assigned) return { code: read, end: close + 1 };
    const from = close + 1 + assigned[0].length;
    const end = closing(text, from, ";");
    const plain = this.code(text.slice(from, end).trim());
    const value = assigned[1] ? `${read} ${assigned[1]} (${plain})` : plain;
    const code = target.windows > 1
      ? `${name}_write(${index}, ${value})`
      : stores(target, name, index, value);
    return { code, end };
  }
}

/**
 * Where the bracket that opens at `from` closes; where `until` is given, where the first of these, or
 * of a bracket that closes none, stands.
 */
function closing(text: string, from: number, until = ""): number {
  let depth = 0;
  for (let i = from; i < text.length; i++) {
    const c = text[i];
    if (depth === 0 && until.includes(c)) return i;
    if ("([{".includes(c)) depth++;
    else if (")]}".includes(c) && (--depth < 0 || (depth === 0 && !until))) return i;
  }
  throw new Error(`A bracket of a kernel is not closed: ${text.slice(from, from + 40)}`);
}

/** Rewrites how the text of a kernel reaches its bindings. */

/** A declaration of a storage binding in a kernel's text. */
export interface Declaration {
  readonly text: string;
  readonly binding: number;
  readonly name: string;
  readonly type: string;
}

/** A binding that is reached in another way than the text says. */
export interface Target extends Declaration {
  /** The type of its elements in memory. */
  readonly stored: string;
  /** WGSL of an element as the text means it, of the element in memory. */
  load(element: string): string;
  /** WGSL of an element in memory, of the value that the text gives it. */
  store(value: string): string;
  /** Whether there are as many elements in memory as the text means: it may ask for their number. */
  readonly counted?: boolean;
  /** Bindings that the tensor is cut into. */
  readonly windows: number;
}

const DECLARATION =
  /@group\(0\) @binding\((\d+)\) var<storage, read_write> (\w+): array<([\w<>]+)>;/g;

/** The storage bindings of a kernel's text. */
export const declarationsOf = (source: string): Declaration[] =>
  [...source.matchAll(DECLARATION)].map(([text, binding, name, type]) => ({
    text,
    binding: Number(binding),
    name,
    type,
  }));

/** An assignment behind an indexed name: its operator, or "" for a plain one. */
const ASSIGNMENT = /^\s*(<<|>>|[-+*/%&|^])?=(?!=)/;
/** An assignment to a part of an element, an increment or a decrement. */
const PARTIAL = /^\s*(?:(?:\.\w+|\[[^\]]*\])+\s*(?:<<|>>|[-+*/%&|^])?=(?!=)|\+\+|--)/;

/** Rewrites the uses of targets in a text. */
export class Rewriter {
  private readonly uses: RegExp;

  constructor(private readonly label: string, private readonly targets: Map<string, Target>) {
    this.uses = new RegExp(`\\b(?:${[...targets.keys()].join("|")})\\b`, "g");
  }

  private refuse(name: string, use: string): never {
    throw new Error(
      `${this.label}: the use ${
        use.split("\n")[0].trim()
      } of the binding ${name} is none that f16 storage, ` +
        "windows and words allow.",
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
    const target = this.targets.get(name)!;
    if (/(?<!&)&$/.test(text.slice(Math.max(0, start - 2), start))) {
      if (target.counted && text.slice(0, start).endsWith("arrayLength(&")) return kept;
      this.refuse(name, text.slice(start - 1, after + 8));
    }
    // A binding is an array without a fixed length: where it is not indexed, the name means another.
    const open = after + text.slice(after).search(/\S|$/);
    if (text[open] !== "[") return kept;
    const close = closing(text, open);
    const rest = text.slice(close + 1);
    if (PARTIAL.test(rest)) this.refuse(name, text.slice(start, close + 9));
    const index = this.code(text.slice(open + 1, close));
    const read = target.windows > 1 ? `${name}_read(${index})` : target.load(`${name}[${index}]`);
    const assigned = ASSIGNMENT.exec(rest);
    if (!assigned) return { code: read, end: close + 1 };
    const from = close + 1 + assigned[0].length;
    const end = closing(text, from, ";");
    const plain = this.code(text.slice(from, end).trim());
    const value = assigned[1] ? `${read} ${assigned[1]} (${plain})` : plain;
    const code = target.windows > 1
      ? `${name}_write(${index}, ${value})`
      : `${name}[${index}] = ${target.store(value)}`;
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

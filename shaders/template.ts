/**
 * WGSL templates. In a `.wgsl` file a line whose first character (after blanks) is `#` is a line of
 * JavaScript control flow (`# for (let r = 0; r < MR; r++) {` … `# }`, `# const K4 = K / 4;`); every
 * other line is WGSL in which `${expression}` is replaced. Parameters are the names that the
 * specialiser passes.
 */

const compiled = new Map<string, (...values: unknown[]) => string>();

function compile(source: string, names: string[]): (...values: unknown[]) => string {
  const body = source.split("\n").map((line) => {
    const text = line.trimStart();
    if (text.startsWith("#")) return text.slice(1);
    if (text.startsWith("//") || text === "") return "";
    return `$out += ${"`" + text.replaceAll("`", "\\`") + "\\n`"};`;
  });
  return new Function(...names, `let $out = "";\n${body.join("\n")}\nreturn $out;`) as (
    ...values: unknown[]
  ) => string;
}

/** Expands the template `source` with the given parameters. */
export function expand(source: string, parameters: Record<string, unknown>): string {
  const names = Object.keys(parameters);
  const key = names.join(",") + "\n" + source;
  let run = compiled.get(key);
  if (!run) compiled.set(key, run = compile(source, names));
  return run(...Object.values(parameters));
}

const texts = new Map<string, string>();

/**
 * The text that `make` gives, made once for each `key`: a plan holds a thousand kernels of a few long
 * texts, which would otherwise be written, kept and compared one by one.
 */
export function textOf(key: string, make: () => string): string {
  let text = texts.get(key);
  if (text === undefined) texts.set(key, text = make());
  return text;
}

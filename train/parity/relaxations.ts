/** The only place where a tolerance is wider than the manifest's, each with its reason. */

/** One or more outputs whose tolerance is multiplied by `factor`. */
interface Relaxation {
  /** Patterns of the fixture's and the output's name, with `*` for any characters. */
  readonly fixture: string;
  readonly output: string;
  readonly factor: number;
  readonly reason: string;
}

/** Every relaxation in force. */
export const RELAXATIONS: readonly Relaxation[] = [];

/** The factor for an output: 1 unless the table names it. */
export function relaxation(fixture: string, output: string): number {
  const found = RELAXATIONS.find((r) =>
    globPattern(r.fixture).test(fixture) && globPattern(r.output).test(output)
  );
  return found?.factor ?? 1;
}

/** A whole-name pattern in which `*` stands for any characters and `?` for one. */
export function globPattern(glob: string): RegExp {
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`);
}

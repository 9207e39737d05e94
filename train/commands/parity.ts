/** `deno task parity`: compares this implementation with golden fixtures. */
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import { UserError } from "../../engine/errors.ts";
import { describe, type Row, runFolder } from "../parity/run.ts";
import { cli, parseOptions } from "./cli.ts";

/** Runs the command; 0 where at least one fixture ran and all passed, else 1. */
export async function run(args: string[]): Promise<number> {
  const program = cli("parity", "Compares all declared outputs of the fixtures in a folder.")
    .argument("<folder>", "folder with *.manifest.json and *.safetensors files")
    .option("--only <pattern>", "fixtures whose name matches (* and ?), or contains plain text")
    .option("--json <file>", "write all comparisons as JSON");
  const options = parseOptions<{ only?: string; json?: string }>(program, args);
  if (options === undefined) return 0;
  if (program.args.length !== 1) {
    throw new UserError(`parity needs one folder; ${program.args.length} were given.`);
  }
  const rows: Row[] = [];
  for await (const row of runFolder(program.args[0], options.only)) {
    console.log(describe(row));
    rows.push(row);
  }
  const failed = rows.filter((row) => !row.passed).length;
  if (rows.length === 0) console.log("No fixture was found.");
  console.log(`${rows.length - failed} passed, ${failed} failed`);
  if (options.json) {
    const text = JSON.stringify(rows, null, 1) + "\n";
    await writeFileAtomically(options.json, [new TextEncoder().encode(text)]);
  }
  return rows.length > 0 && failed === 0 ? 0 : 1;
}

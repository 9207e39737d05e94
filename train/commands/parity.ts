/** `deno task parity`: compares this implementation with golden fixtures. */
import { parseArgs } from "node:util";
import { UserError } from "../../engine/errors.ts";
import { describe, type Row, runFolder } from "../parity/run.ts";

const USAGE = `Usage: deno task parity FOLDER [--only PATTERN] [--json FILE]

Runs every *.manifest.json of FOLDER and compares all declared outputs.
  --only PATTERN  fixtures whose name matches (* and ?), or contains PATTERN without wildcards
  --json FILE     also writes all comparisons as JSON`;

/** Runs the command; 0 where at least one fixture ran and all passed, else 1. */
export async function run(args: string[]): Promise<number> {
  const { folder, only, json } = parse(args);
  if (folder === undefined) {
    console.log(USAGE);
    return 0;
  }
  const rows: Row[] = [];
  for await (const row of runFolder(folder, only)) {
    console.log(describe(row));
    rows.push(row);
  }
  if (json !== undefined) await Deno.writeTextFile(json, JSON.stringify(rows, null, 1) + "\n");
  const failed = rows.filter((row) => !row.passed).length;
  if (rows.length === 0) {
    console.log(only === undefined ? "No fixture was found." : `No fixture matches "${only}".`);
  }
  console.log(`${rows.length - failed} passed, ${failed} failed`);
  return rows.length > 0 && failed === 0 ? 0 : 1;
}

function parse(args: string[]): { folder?: string; only?: string; json?: string } {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        only: { type: "string" },
        json: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) return {};
    if (positionals.length !== 1) {
      throw new Error(`one folder is needed, ${positionals.length} were given`);
    }
    return {
      folder: positionals[0],
      ...(values.only === undefined ? {} : { only: values.only }),
      ...(values.json === undefined ? {} : { json: values.json }),
    };
  } catch (error) {
    throw new UserError(`parity: ${(error as Error).message}\n${USAGE}`, { cause: error });
  }
}

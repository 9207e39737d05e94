import { deepStrictEqual as deepEqual, strictEqual as equal, throws } from "node:assert/strict";
import { cli, decimal, folderPath, parseOptions, wholeNumber } from "../train/commands/cli.ts";

interface Flags {
  epochs: number;
  rate?: number;
  trace?: boolean;
}

const program = () =>
  cli("train", "Trains.")
    .option("--epochs <n>", "rounds", wholeNumber(1), 3)
    .option("--rate <x>", "learning rate", decimal(0, 1))
    .option("--out <dir>", "folder", folderPath);

const message = (args: string[]) => {
  try {
    parseOptions(program(), args);
  } catch (error) {
    equal((error as Error).name, "UserError");
    return (error as Error).message;
  }
  return undefined;
};

Deno.test("parseOptions() gives values and defaults when the options are right", () => {
  deepEqual(parseOptions<Flags & Record<string, unknown>>(program(), ["--rate", "0.5"]), {
    epochs: 3,
    rate: 0.5,
  });
});

Deno.test("parseOptions() throws one sentence when an option is unknown", () => {
  equal(
    message(["--epoch", "2"]),
    "Unknown option '--epoch' (Did you mean --epochs?); `deno task train --help` lists the options.",
  );
});

Deno.test("parseOptions() throws one sentence when a value is missing or wrong", () => {
  for (const args of [["--epochs"], ["--epochs", "0"], ["--epochs", "1.5"], ["--epochs", ""]]) {
    equal(message(args)?.match(/^Option '--epochs <n>' .*; `deno/)?.length, 1, args.join(" "));
  }
  equal(
    message(["--rate", "2"]),
    "Option '--rate <x>' argument '2' is invalid. It must be a number from 0 to 1; " +
      "`deno task train --help` lists the options.",
  );
  equal(message(["--out", " "])?.includes("argument ' ' is invalid. It must not be empty;"), true);
});

Deno.test("parseOptions() throws when there is an argument that no command takes", () => {
  equal(message(["stray"])?.includes("oo many arguments"), true);
});

Deno.test("parseOptions() prints the help and gives nothing when --help is there", () => {
  const lines: string[] = [];
  const helped = program().configureOutput({ writeOut: (text) => lines.push(text) });
  equal(parseOptions(helped, ["--help"]), undefined);
  const text = lines.join("");
  for (const part of ["Usage: deno task train [options]", "--epochs <n>", "--trace", "Trains."]) {
    equal(text.includes(part), true, part);
  }
});

Deno.test("wholeNumber() and decimal() throw when the text is no number of the range", () => {
  for (const text of ["", " ", "one", "1e400", "-1", "NaN"]) {
    throws(() => wholeNumber(0)(text), { code: "commander.invalidArgument" }, text);
    throws(() => decimal(0)(text), { code: "commander.invalidArgument" }, text);
  }
  equal(wholeNumber(0, 9)("9"), 9);
  equal(decimal()("-1e-3"), -0.001);
});

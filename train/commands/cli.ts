/** What the commands have in common: option parsing that ends in a sentence, never in an exit. */
import { Command, CommanderError, InvalidArgumentError, type OptionValues } from "commander";
import { UserError } from "../../engine/errors.ts";

/**
 * A commander `Command` that throws instead of exiting.
 *
 * @param name the task that starts it, as in `deno task <name>`.
 * @param summary one line for `--help`.
 */
export function cli(name: string, summary: string): Command {
  return new Command()
    .name(`deno task ${name}`)
    .description(summary)
    .option("--trace", "print the stack trace of an error")
    .helpOption("-h, --help", "print this help")
    .showSuggestionAfterError()
    .configureOutput({ writeErr: () => {} })
    .exitOverride();
}

/**
 * Parses the arguments of a command; positional ones are in `program.args` afterwards.
 *
 * @returns the options by name, or `undefined` where `--help` was asked for and printed.
 * @throws {UserError} where an option is unknown, lacks its value or has a wrong one.
 */
export function parseOptions<Options extends OptionValues>(
  program: Command,
  args: readonly string[],
): Options | undefined {
  try {
    return program.parse(args, { from: "user" }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new UserError(sentence(error.message, program.name()));
  }
}

function sentence(message: string, command: string): string {
  const text = message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ").replace(/\.$/, "");
  return `${text.charAt(0).toUpperCase()}${
    text.slice(1)
  }; \`${command} --help\` lists the options.`;
}

/** Parser of a whole number for `.option(flags, description, wholeNumber(1))`. */
export function wholeNumber(min = 0, max: number = Number.MAX_SAFE_INTEGER) {
  return (text: string): number => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isSafeInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number ${range(min, max)}.`);
    }
    return value;
  };
}

/** Parser of a folder's path: an empty one would lead to the folder of the process, or to the root. */
export function folderPath(text: string): string {
  if (text.trim() === "") throw new InvalidArgumentError("It must not be empty.");
  return text;
}

/** Parser of a finite number within a closed range. */
export function decimal(min = -Infinity, max = Infinity) {
  return (text: string): number => {
    const value = text.trim() === "" ? NaN : Number(text);
    if (!Number.isFinite(value) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a number ${range(min, max)}.`);
    }
    return value;
  };
}

function range(min: number, max: number): string {
  const open = max === Infinity || max === Number.MAX_SAFE_INTEGER;
  if (!open) return `from ${min} to ${max}`;
  return min === -Infinity ? "that is finite" : `of at least ${min}`;
}

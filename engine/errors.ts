/** Errors that a user can act on, in contrast to defects of the program. */

/**
 * Something that the user can mend: a wrong option, a missing file, a machine without an adapter. Its
 * message is one clear sentence; commands print it without a stack trace and exit with 1.
 */
export class UserError extends Error {
  /** Name of the class. */
  override name = "UserError";
  /** Marks the error for {@link isUserError} where classes come from different copies of a module. */
  readonly userFacing = true;
}

/** True for a {@link UserError} and for any error that carries `userFacing: true`. */
export function isUserError(error: unknown): error is Error {
  return error instanceof Error && (error as Partial<UserError>).userFacing === true;
}

/** Text of a file as errors show it: on one line, and not endless. */
export function shortened(text: string, length = 80): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
  return line.length > length ? `${line.slice(0, length)}…` : line;
}

/** The same in quotation marks. */
export function quoted(text: string): string {
  return shortened(JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text), 500);
}

/** Makes the error of a file that cannot be read, which names the file, for a reason. */
export type Fail = (reason: string) => UserError;

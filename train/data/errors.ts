/** The error of everything that reads or writes data files. */
import { UserError } from "../../engine/errors.ts";

/** A file or an option that cannot be used; the message is one sentence naming it and the reason. */
export class DataError extends UserError {
  override readonly name = "DataError";
}

/** What the operating system says about a failed file operation, in a few words. */
export function ioReason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotADirectory) return "a part of the path is not a folder";
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  const code = (error as { code?: string }).code;
  if (code === "EEXIST") return "a file has that name";
  if (code === "EROFS") return "the file system is read-only";
  if (code === "ENOSPC") return "the disk is full";
  const [text] = (error instanceof Error ? error.message : String(error)).split("\n");
  // What follows the system's words repeats the path.
  return text.replace(/ \(os error \d+\).*$/, "");
}

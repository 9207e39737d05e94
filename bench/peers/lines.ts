/** Text as lines, as they come over a pipe. */

/** Cuts a stream of text at line feeds; the last line needs none. */
export class TextLineStream extends TransformStream<string, string> {
  /** A stream that has seen nothing yet. */
  constructor() {
    let rest = "";
    super({
      transform(chunk, controller) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop()!;
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller) {
        if (rest) controller.enqueue(rest);
      },
    });
  }
}

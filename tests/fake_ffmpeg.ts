/**
 * Stands in for ffmpeg. A "video" is a JSON file {frames}; frame k is a picture of 6 x 4 pixels of the
 * grey level k. "Encoding" keeps the pictures as they come.
 */
const WIDTH = 6, HEIGHT = 4;

/** A program that behaves like ffmpeg, in a folder; it notes its calls in `calls` there. */
export async function fakeFfmpeg(folder: string): Promise<string> {
  const path = `${folder}/ffmpeg`;
  const script = new URL(import.meta.url).pathname;
  const line = `exec "${Deno.execPath()}" run -A --no-config "${script}" "${folder}/calls" "$@"`;
  await Deno.writeTextFile(path, `#!/bin/sh\n${line}\n`);
  await Deno.chmod(path, 0o755);
  return path;
}

/** The calls so far, without the options that all have. */
export async function callsOf(folder: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${folder}/calls`).catch(() => "");
  return text.split("\n").filter((line) => line !== "");
}

function ppm(level: number): Uint8Array {
  const header = new TextEncoder().encode(`P6\n${WIDTH} ${HEIGHT}\n255\n`);
  const file = new Uint8Array(header.length + WIDTH * HEIGHT * 3).fill(level);
  file.set(header);
  return file;
}

async function main([calls, ...args]: string[]): Promise<number> {
  const after = (name: string) => args[args.indexOf(name) + 1];
  if (args.includes("-version")) return 0;
  await Deno.writeTextFile(calls, `${after("-vf") ?? "count"}\n`, { append: true });
  if (args.includes("mp4")) {
    const output = await Deno.open(args.at(-1)!.replace("file:", ""), {
      write: true,
      create: true,
    });
    await Deno.stdin.readable.pipeTo(output.writable);
    return 0;
  }
  const input = after("-i");
  let frames: number;
  try {
    ({ frames } = JSON.parse(await Deno.readTextFile(input.replace("file:", ""))));
  } catch {
    console.error(`${input}: Invalid data found when processing input`);
    return 1;
  }
  if (after("-f") === "null") {
    console.log(`frame=1\nout_time=N/A\nframe=${frames}\nout_time=00:00:00.500000\nprogress=end`);
    return 0;
  }
  const first = Number(/gte\(n\\,(\d+)\)/.exec(after("-vf"))![1]);
  const writer = Deno.stdout.writable.getWriter();
  for (let k = first; k < frames; k++) await writer.write(ppm(k));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

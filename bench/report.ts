/** Results of benchmarks: their form as JSON, and as a table. */
import { writeFileAtomically } from "../engine/atomic_file.ts";
import type { Sample } from "./clock.ts";

/** One measured piece of work. The names are those of the JSON form. */
export interface Row {
  /** The part of the benchmark: `kernels`, `model`, `step`, `peers` or `tune`. */
  readonly group: string;
  readonly name: string;
  readonly shape: string;
  /** `forward`, `backward`, `forward+backward` or a part of a training step. */
  readonly pass: string;
  /** Median wall time. */
  readonly ms: number;
  /** Median CPU time of the process, all threads. */
  readonly cpu_ms: number;
  /** 10^9 floating-point operations a second; null for work that only moves data. */
  readonly gflops: number | null;
  /** 10^9 bytes a second, each operand and result counted once; null where operations bound it. */
  readonly gbps: number | null;
  /** Share of what the adapter's measured peaks allow for this work; null where they are not known. */
  readonly share: number | null;
  /** Kernel schedule, or null for work of many kernels. */
  readonly schedule: string | null;
  /** What other libraries reach, in the unit of this row. */
  readonly peers: Readonly<Record<string, number>>;
  /** Further figures; names end in their unit. */
  readonly details: Readonly<Record<string, number | string | boolean>>;
}

/** A row with its times and nothing else that was measured. */
export function timedRow(
  { group, name, shape, pass }: Pick<Row, "group" | "name" | "shape" | "pass">,
  { ms, cpuMs }: Sample,
): Row {
  return {
    group,
    name,
    shape,
    pass,
    ms,
    cpu_ms: cpuMs,
    gflops: null,
    gbps: null,
    share: null,
    schedule: null,
    peers: {},
    details: {},
  };
}

/** A whole run of a benchmark. */
export interface Report {
  /** The adapter's description. */
  readonly adapter: string;
  /** When the run ended, ISO 8601. */
  readonly date: string;
  /** What the adapter reaches at best, measured in the same run. */
  readonly peaks?: { readonly gflops: number; readonly gbps: number };
  /** Load averages of the last minute before and after the run: above 0 before means a busy machine. */
  readonly load: readonly [before: number, after: number];
  readonly rows: readonly Row[];
}

/** Rounds to four significant digits, so that files stay readable. */
export function rounded(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : 0;
}

function tidy(row: Row): Row {
  const entries = Object.entries(row).map(([key, value]) => [
    key,
    typeof value === "number"
      ? rounded(value)
      : key === "peers" || key === "details"
      ? Object.fromEntries(
        Object.entries(value as Row["details"]).map(([name, v]) => [
          name,
          typeof v === "number" && !Number.isSafeInteger(v) ? rounded(v) : v,
        ]),
      )
      : value,
  ]);
  return Object.fromEntries(entries) as Row;
}

/** The JSON form of a report: one line a row. */
export function toJson({ rows, ...head }: Report): string {
  const lines = rows.map((row) => `  ${JSON.stringify(tidy(row))}`).join(",\n");
  const start = JSON.stringify(head, null, 1).replace(/\n}$/, "");
  return `${start},\n "rows": [\n${lines}\n ]\n}\n`;
}

/** Writes the JSON form of a report to a file. */
export async function writeReport(path: string, report: Report): Promise<void> {
  await writeFileAtomically(path, [new TextEncoder().encode(toJson(report))]);
}

/** The rate of a row in its own unit. */
export function rateOf({ gflops, gbps }: Row): string {
  if (gflops !== null) return `${rounded(gflops)} GFLOP/s`;
  return gbps === null ? "" : `${rounded(gbps)} GB/s`;
}

const percent = (share: number | null) => share === null ? "" : `${(100 * share).toFixed(0)} %`;

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly text: (row: Row) => string;
  readonly left?: boolean;
}

/** A column that shows a detail. */
export function detail(title: string, name: string): Column {
  return {
    title,
    text: ({ details }) => {
      const value = details[name];
      return typeof value === "number" ? `${rounded(value)}` : String(value ?? "");
    },
  };
}

/** Columns that every table starts with. */
export const COMMON: readonly Column[] = [
  { title: "work", text: (r) => r.name, left: true },
  { title: "shape", text: (r) => r.shape, left: true },
  { title: "pass", text: (r) => r.pass, left: true },
  { title: "ms", text: (r) => `${rounded(r.ms)}` },
  { title: "CPU ms", text: (r) => `${rounded(r.cpu_ms)}` },
  { title: "rate", text: rateOf },
  { title: "share", text: (r) => percent(r.share) },
];

/** Rows as a text table whose columns fit their content; columns without content are left out. */
export function table(rows: readonly Row[], columns: readonly Column[]): string {
  const cells = columns.map(({ title, text, left }) => ({
    left,
    texts: [title, ...rows.map(text)],
  })).filter(({ texts }) => texts.some((t, i) => i > 0 && t !== ""));
  const widths = cells.map(({ texts }) => Math.max(...texts.map((t) => t.length)));
  const line = (i: number) =>
    cells.map(({ texts, left }, c) =>
      left ? texts[i].padEnd(widths[c]) : texts[i].padStart(widths[c])
    ).join("  ").trimEnd();
  return Array.from({ length: rows.length + 1 }, (_, i) => line(i)).join("\n");
}

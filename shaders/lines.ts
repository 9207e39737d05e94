/**
 * Kernels that reduce each line of a tensor along one axis and then map its elements: softmax, layer
 * normalisation and their gradients. The line is read once where it fits in registers.
 */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import {
  type Arg,
  declareSizes,
  type Epilogue,
  grid1d,
  IDENTITY,
  type Lowering,
  type Sizes,
  storage,
} from "./kernel.ts";
import { bitsOf } from "./literal.ts";
import { ifFinite, maximum, type Width } from "./nan.ts";
import { MOST_ROUNDS } from "./rounds.ts";
import { expand } from "./template.ts";
import single from "./lines_single.wgsl" with { type: "text" };
import team from "./lines_team.wgsl" with { type: "text" };

/** An input array; WGSL expressions know the element that belongs to them by its name. */
export interface LineInput {
  readonly name: string;
  /** `element`: shaped as the view; `axis`: `[size]`; `line`: `[outer, inner]`. */
  readonly kind: "element" | "axis" | "line";
}

/** A value of each line, known by `name` to what follows. */
export interface LineReduction {
  readonly name: string;
  readonly kind: "max" | "sum";
  /** WGSL of what an element contributes. */
  readonly term: string;
  /** WGSL of the value, or of four lines' values, given that of the reduced terms. */
  readonly finish: (total: string, width: Width) => string;
}

/** Reductions in order, then one result for each element. Names must not be contained in others. */
export interface LineProgram {
  readonly label: string;
  readonly inputs: readonly LineInput[];
  readonly reductions: readonly LineReduction[];
  readonly result: string;
  /** Numbers that the WGSL knows by name. They are data: lines of any length share their kernels. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Outputs after the first: one value a line. */
  readonly lineOutputs?: readonly { readonly name: string; readonly value: string }[];
}

/** Values of its line that an invocation keeps in variables; more of them compile too slowly. */
const NAMED = 8;
const SINGLE_TEAM = 64;
/** Loads and stores of a CPU adapter's kernel: each takes some 8 ms to compile. More for long work. */
const MEMORY_OPS = 32;
const MEMORY_OPS_LARGE = 48;
/** Elements from which a shorter time is worth compiling more. */
const LARGE = 2 ** 20;
/** Lines of a team at most, and teams that keep a CPU adapter busy. */
const LINES = 16;
const BUSY = 32;

/** Joins two partial results. */
const combine = (kind: LineReduction["kind"], width: Width) => (a: string, b: string) =>
  kind === "sum" ? `${a} + ${b}` : `maximum_${width}(${a}, ${b})`;

/** What results start from: no constant is -infinity to all compilers. */
const START = { sum: "0.0", max: "bitcast<f32>(lowest_bits)" } as const;

/** Functions that the reductions of a program call. */
function functions({ reductions }: LineProgram): string {
  if (reductions.every(({ kind }) => kind === "sum")) return "";
  const both = [1, 4] as const;
  return `
var<private> lowest_bits: u32 = 0xff800000u;
${both.map(maximum).join("")}${both.map(ifFinite).join("")}
`;
}

function declare(program: LineProgram, types: Record<LineInput["kind"], string>): string[] {
  const text = program.inputs.map(({ name, kind }, i) => storage(i, `${name}_data`, types[kind]));
  text.push(storage(text.length, "out", types.element));
  for (const { name } of program.lineOutputs ?? []) {
    text.push(storage(text.length, `${name}_out`, types.line));
  }
  return text;
}

/** Parameters that both templates take from the program. */
function programText(program: LineProgram, declared: readonly string[], epilogue: Epilogue) {
  return {
    inputs: program.inputs,
    reductions: program.reductions,
    result: program.result,
    lineOutputs: program.lineOutputs ?? [],
    constants: Object.keys(program.constants ?? {}),
    declarations: declared.join("\n") + functions(program) + "\n" +
      epilogue.declarations(declared.length),
    combine,
    START,
    epilogue,
  };
}

/** The constants of a program among its kernel's sizes. */
const constantSizes = ({ constants = {} }: LineProgram): Sizes =>
  Object.fromEntries(Object.entries(constants).map(([name, value]) => [name, bitsOf(value)]));

function finishLowering(
  program: LineProgram,
  view: AxisView,
  source: string,
  grid: readonly [number, number, number],
  sizes: Sizes,
): Lowering {
  const { outer, size, inner } = view;
  const outputs = 1 + (program.lineOutputs?.length ?? 0);
  const args: Arg[] = [
    ...program.inputs.map((_, i): Arg => `in${i}`),
    ...Array.from({ length: outputs }, (_, i): Arg => `out${i}`),
    "epilogue",
  ];
  const label = `${program.label} ${outer}x${size}x${inner}`;
  return { steps: [{ kernel: { label, source, grid, sizes }, args }] };
}

function lowerSingle(
  program: LineProgram,
  view: AxisView,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const vector = view.inner % 4 === 0;
  const T = vector ? "vec4f" : "f32";
  const lines = view.outer * view.inner / (vector ? 4 : 1);
  const elements = program.inputs.filter(({ kind }) => kind === "element").length;
  const grid = grid1d(Math.ceil(lines / SINGLE_TEAM), profile.maxGrid);
  const declared = declare(program, { element: T, axis: "f32", line: T });
  const inner = view.inner / (vector ? 4 : 1);
  const sizes = { gridWidth: grid[0], lines, inner, size: view.size, ...constantSizes(program) };
  const named = view.size * elements <= NAMED;
  const source = expand(single, {
    ...programText(program, declared, epilogue),
    sizes: declareSizes(sizes),
    vector,
    named,
    size: named ? view.size : 0,
    TEAM: SINGLE_TEAM,
  });
  return finishLowering(program, view, source, grid, sizes);
}

/** Invocations that share a line. */
function teamOf({ size }: AxisView, profile: AdapterProfile): number {
  if (profile.class === "cpu") return profile.lanes;
  const length = size % 4 === 0 ? size / 4 : size;
  const wanted = Math.min(Math.max(length, 32), 256, profile.maxInvocations);
  return 2 ** Math.floor(Math.log2(wanted));
}

/** Values of a line that each of its invocations keeps in variables, of `chunks` that it has. */
function keptChunks(
  { inputs }: LineProgram,
  { outer, size }: AxisView,
  chunks: number,
  { class: kind }: AdapterProfile,
): number {
  const elements = inputs.filter((input) => input.kind === "element").length;
  const axes = inputs.filter((input) => input.kind === "axis").length;
  const large = kind === "cpu" && outer * size >= LARGE;
  const most = kind === "cpu"
    ? (large ? MEMORY_OPS_LARGE : MEMORY_OPS) / (elements + axes + 1)
    : NAMED / elements;
  if (chunks <= most) return chunks;
  // Of a line that fits by less than half, too much is read again.
  return large && chunks <= 2 * most ? Math.floor(most) : 0;
}

/** Lines that a team reduces one after another, on what it read once; cores must stay busy. */
function linesOfTeam(program: LineProgram, view: AxisView, profile: AdapterProfile): number {
  if (profile.class === "gpu") return 1;
  const rounds = roundsOf(program, view, profile.lanes);
  return Math.max(1, Math.min(LINES, Math.floor(view.outer / BUSY), Math.floor(ROUNDS / rounds)));
}

function lowerTeam(
  program: LineProgram,
  view: AxisView,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const vector = view.size % 4 === 0;
  const T = vector ? "vec4f" : "f32";
  const lines = view.outer;
  const length = view.size / (vector ? 4 : 1);
  const TEAM = teamOf(view, profile);
  const chunks = Math.ceil(length / TEAM);
  const CHUNKS = keptChunks(program, view, chunks, profile);
  const rest = CHUNKS < chunks;
  const perTeam = linesOfTeam(program, view, profile);
  const grid = grid1d(Math.ceil(lines / perTeam), profile.maxGrid);
  const declared = declare(program, { element: T, axis: T, line: "f32" });
  const sizes = { gridWidth: grid[0], lines, length, perTeam, ...constantSizes(program) };
  const source = expand(team, {
    ...programText(program, declared, epilogue),
    sizes: declareSizes(sizes),
    vector,
    subgroups: profile.class === "cpu",
    CHUNKS,
    ragged: !rest && length % TEAM !== 0,
    rest,
    TEAM,
  });
  return finishLowering(program, view, source, grid, sizes);
}

/** Rounds of all lines of an invocation: the loop over them ends with a test, which counts too. */
const ROUNDS = MOST_ROUNDS - 1;

const widthOf = ({ size }: AxisView, team: number) => team > 1 && size % 4 === 0 ? 4 : 1;

/** Rounds that an invocation of `team` needs for a line: one pass after another, each with its test. */
function roundsOf({ reductions }: LineProgram, view: AxisView, team: number): number {
  const passes = reductions.length + 1;
  return passes * (Math.ceil(view.size / widthOf(view, team) / team) + 1) + 1;
}

/** Refuses lines that an invocation of `team` could not go through once for each pass. */
function requireShort(program: LineProgram, view: AxisView, team: number): void {
  if (roundsOf(program, view, team) <= ROUNDS) return;
  const most = Math.floor((ROUNDS - 1) / (program.reductions.length + 1)) - 1;
  throw new RangeError(
    `${program.label} over ${view.size} elements of an axis is too long for a software adapter, ` +
      `whose loops end after ${MOST_ROUNDS} rounds: here at most ${
        most * widthOf(view, team) * team
      }.`,
  );
}

/**
 * Lowers `program` on the lines of `view`: a subgroup or workgroup shares a line that is contiguous
 * and long; else each invocation has lines of its own.
 */
export function lowerLines(
  program: LineProgram,
  view: AxisView,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const alone = view.inner > 1 || view.size <= 16 || (profile.class === "cpu" && !profile.lanes);
  if (profile.software) requireShort(program, view, alone ? 1 : teamOf(view, profile));
  return (alone ? lowerSingle : lowerTeam)(program, view, profile, epilogue);
}

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

function teamSize(length: number, profile: AdapterProfile): number {
  if (profile.class === "cpu") return profile.lanes;
  const wanted = Math.min(Math.max(length, 32), 256, profile.maxInvocations);
  return 2 ** Math.floor(Math.log2(wanted));
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
  const elements = program.inputs.filter(({ kind }) => kind === "element").length;
  const TEAM = teamSize(length, profile);
  const chunks = Math.ceil(length / TEAM);
  const grid = grid1d(lines, profile.maxGrid);
  const declared = declare(program, { element: T, axis: T, line: "f32" });
  const sizes = { gridWidth: grid[0], lines, length, ...constantSizes(program) };
  const named = chunks * elements <= NAMED;
  const source = expand(team, {
    ...programText(program, declared, epilogue),
    sizes: declareSizes(sizes),
    vector,
    subgroups: profile.class === "cpu",
    CHUNKS: named ? chunks : 0,
    ragged: length % TEAM !== 0,
    named,
    TEAM,
  });
  return finishLowering(program, view, source, grid, sizes);
}

/** Refuses lines that an invocation of `team` could not go through once for each pass. */
function requireShort({ label, reductions }: LineProgram, { size }: AxisView, team: number): void {
  const width = team > 1 && size % 4 === 0 ? 4 : 1;
  const passes = reductions.length + 1;
  // The test that ends a loop counts too.
  const rounds = Math.floor(MOST_ROUNDS / passes) - 1;
  if (Math.ceil(size / width / team) <= rounds) return;
  throw new RangeError(
    `${label} over ${size} elements of an axis is too long for a software adapter, whose loops end ` +
      `after ${MOST_ROUNDS} rounds: here at most ${
        Math.floor(MOST_ROUNDS / passes) * width * team
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
  if (profile.class === "cpu") requireShort(program, view, alone ? 1 : profile.lanes);
  return (alone ? lowerSingle : lowerTeam)(program, view, profile, epilogue);
}

/** WGSL of fused elementwise work: values of nodes at an index, one or four elements at a time. */
import type { Attributes } from "../attributes.ts";
import { type DType, DTYPES, isFloat } from "../dtype.ts";
import { numel, type Shape, stridesOf } from "../shape.ts";
import type { GraphNode } from "./graph.ts";
import { BAKED, type Numbers } from "./numbers.ts";
import type { Coordinate } from "../../shaders/kernel.ts";
import { isTrue } from "../../shaders/nan.ts";
import { binaryCode, castCode, HELPERS, unaryCode } from "./scalar_code.ts";

/** Thrown where four lanes cannot be followed through a movement; the kernel is then made scalar. */
export class NotVectorisable extends Error {}

/**
 * How the four lanes of a vector differ: along one dimension of the index by `step`, or along the
 * flat index; `aligned` where the first lane is at a multiple of 4 and lanes are consecutive.
 */
export interface Lanes {
  readonly dim: number | "flat";
  readonly step: number;
  readonly aligned: boolean;
}

/** An element (or four) of a shape: by flat index, by coordinates, or both. */
export interface Index {
  readonly shape: Shape;
  flat?: string;
  coords?: string[];
  /** Coordinates that are at hand where `flat` is given, whatever the shape. */
  readonly known?: readonly Coordinate[] | undefined;
  readonly lanes: Lanes | null;
}

/** A WGSL expression; `wide` where it is a vec4. */
export interface Value {
  readonly code: string;
  readonly wide: boolean;
}

/** Whether a leaf is bound as vec4s or as scalars. */
export type Access = "vector" | "scalar";

/** WGSL type of one or four values of `dtype` in registers. */
export const typeOf = (dtype: DType, wide: boolean): string =>
  wide ? `vec4<${DTYPES[dtype].computed}>` : DTYPES[dtype].computed;

/** Splats a scalar where a vec4 is wanted. */
export const widen = (v: Value, dtype: DType): string =>
  v.wide ? v.code : `${typeOf(dtype, true)}(${v.code})`;

/** Emits statements that compute nodes; equal expressions are computed once. */
export class Emitter {
  private readonly statements: string[] = [];
  /** How each leaf is read; a leaf read both ways must be bound as scalars. */
  readonly accesses = new Map<GraphNode, Access>();
  readonly helpers: Set<string>;
  private readonly names = new Map<string, string>();
  private readonly values = new Map<string, Value>();

  /**
   * @param leaves nodes that are read from buffers.
   * @param nameOf the WGSL name of a leaf's binding.
   * @param forced accesses found necessary by an earlier pass.
   * @param given values that are already at hand (the accumulator of an epilogue).
   * @param numbers writes sizes and strides.
   */
  constructor(
    private readonly leaves: ReadonlySet<GraphNode>,
    private readonly nameOf: (leaf: GraphNode) => string,
    private readonly forced: ReadonlyMap<GraphNode, Access>,
    private readonly given: ReadonlyMap<GraphNode, Value> = new Map(),
    helpers = new Set<string>(),
    private readonly numbers: Numbers = BAKED,
  ) {
    this.helpers = helpers;
  }

  /** {@link codesFor} one result. */
  codeFor(result: Value): { code: string; value: Value } {
    const { code, values: [value] } = this.codesFor([result]);
    return { code, value };
  }

  /**
   * The statements that `results` depend on (coordinates are named before it is known who needs them),
   * and the results: names are numbered anew, so that what was not needed leaves no trace.
   */
  codesFor(results: readonly Value[]): { code: string; values: Value[] } {
    const kept: string[] = [];
    const needed = new Set(results.flatMap(({ code }) => code.match(/\w+/g) ?? []));
    for (const statement of this.statements.toReversed()) {
      const [, name, code] = statement.match(/^let (\w+) = (.*)$/s)!;
      if (!needed.has(name)) continue;
      kept.push(statement);
      for (const word of code.match(/\w+/g)!) needed.add(word);
    }
    const numbers = new Map<string, string>();
    const renumber = (text: string) =>
      text.replace(/\bt\d+\b/g, (name) => {
        const found = numbers.get(name) ?? `t${numbers.size}`;
        numbers.set(name, found);
        return found;
      });
    return {
      code: renumber(kept.toReversed().join("\n  ")),
      values: results.map((result) => ({ ...result, code: renumber(result.code) })),
    };
  }

  /** Names an expression. */
  let(code: string): string {
    if (/^\w+$/.test(code)) return code;
    let name = this.names.get(code);
    if (!name) {
      this.names.set(code, name = `t${this.names.size}`);
      this.statements.push(`let ${name} = ${code};`);
    }
    return name;
  }

  /** Coordinate `k` of an index. */
  private coord(ix: Index, k: number): string {
    if (ix.shape[k] === 1) return "0u";
    if (ix.coords) return ix.coords[k];
    if (
      ix.lanes?.dim === "flat" && !(ix.lanes.aligned && ix.shape[ix.shape.length - 1] % 4 === 0)
    ) {
      throw new NotVectorisable();
    }
    const strides = stridesOf(ix.shape);
    const known = ix.known?.find((c) => c.stride === strides[k] && c.size === ix.shape[k]);
    if (known) return known.code;
    const bound = numel(ix.shape);
    const flat = ix.flat!;
    const high = strides[k] === 1 ? flat : this.let(this.numbers.quotient(flat, strides[k], bound));
    const first = ix.shape.slice(0, k).every((size) => size === 1);
    if (first) return high;
    return this.let(this.numbers.remainder(high, ix.shape[k], bound / strides[k]));
  }

  /** The index by coordinates. */
  private byCoords(ix: Index): { coords: string[]; lanes: Lanes | null } {
    const coords = ix.shape.map((_, k) => this.coord(ix, k));
    const lanes = ix.lanes?.dim === "flat" ? { ...ix.lanes, dim: ix.shape.length - 1 } : ix.lanes;
    return { coords, lanes };
  }

  /** The flat index, and how far lanes are apart there. */
  private byFlat(ix: Index): { flat: string; lanes: Lanes | null } {
    const strides = stridesOf(ix.shape);
    let lanes = ix.lanes;
    if (lanes && lanes.dim !== "flat") {
      const { dim, step, aligned } = lanes;
      const stride = strides[dim] * step;
      const even = aligned && stride === 1 && ix.shape[dim] % 4 === 0;
      lanes = { dim: "flat", step: stride, aligned: even };
    }
    if (ix.flat !== undefined) return { flat: ix.flat, lanes };
    const terms = ix.shape.flatMap((size, k) =>
      size === 1 || ix.coords![k] === "0u"
        ? []
        : [strides[k] === 1 ? ix.coords![k] : this.numbers.product(ix.coords![k], strides[k])]
    );
    return { flat: terms.length === 0 ? "0u" : this.let(terms.join(" + ")), lanes };
  }

  private load(leaf: GraphNode, ix: Index): Value {
    const { flat, lanes } = this.byFlat(ix);
    const name = this.nameOf(leaf);
    const scalar = () => this.accesses.set(leaf, "scalar");
    if (!lanes) {
      scalar();
      return { code: this.let(`${name}[${flat}]`), wide: false };
    }
    if (lanes.step === 1 && lanes.aligned && this.forced.get(leaf) !== "scalar") {
      if (!this.accesses.has(leaf)) this.accesses.set(leaf, "vector");
      return { code: this.let(`${name}[${this.let(`${flat} / 4u`)}]`), wide: true };
    }
    scalar();
    const at = (l: number) => {
      const offset = l * lanes.step;
      if (offset === 0) return `${name}[${flat}]`;
      const far = this.numbers.of(Math.abs(offset), "stride");
      return `${name}[${flat} ${offset > 0 ? "+" : "-"} ${far}]`;
    };
    return {
      code: this.let(`${typeOf(leaf.dtype, true)}(${[0, 1, 2, 3].map(at).join(", ")})`),
      wide: true,
    };
  }

  /** The value of `n` at `ix`. */
  value(n: GraphNode, ix: Index): Value {
    const given = this.given.get(n);
    if (given) return given;
    if (this.leaves.has(n)) return this.load(n, ix);
    const key = `${n.index}@${ix.flat ?? ""}|${ix.coords?.join(",") ?? ""}|${
      JSON.stringify(ix.lanes)
    }`;
    let value = this.values.get(key);
    if (!value) this.values.set(key, value = this.compute(n, ix));
    return value;
  }

  /** How far the four lanes of an index are from its first. */
  private steps(step: number): string {
    return [0, 1, 2, 3].map((l) => this.numbers.of((l * step) >>> 0, "stride")).join(", ");
  }

  private compute(n: GraphNode, ix: Index): Value {
    switch (n.op) {
      case "constant": {
        const { value } = n.tensor.attributes as Attributes["constant"];
        return { code: DTYPES[n.dtype].literal(value), wide: false };
      }
      case "iota": {
        const { flat, lanes } = this.byFlat(ix);
        if (!lanes) return { code: flat, wide: false };
        const steps = this.steps(lanes.step);
        return { code: this.let(`vec4<u32>(${flat}) + vec4<u32>(${steps})`), wide: true };
      }
      case "reshape":
      case "permute":
      case "expand":
      case "slice":
      case "pad":
      case "indexSelect":
      case "detach":
        return this.move(n, ix);
      case "cat":
        return this.joined(n, ix);
      default:
        return this.arithmetic(n, ix);
    }
  }

  private arithmetic(n: GraphNode, ix: Index): Value {
    const args = n.inputs.map((x) => this.value(x, ix));
    const wide = args.some((v) => v.wide);
    const code = args.map((v, i) => wide ? widen(v, n.inputs[i].dtype) : v.code);
    const [{ dtype }] = n.inputs;
    const condition = () =>
      isFloat(dtype)
        ? isTrue(code[0], wide ? 4 : 1)
        : `${code[0]} != ${wide ? `${typeOf(dtype, true)}()` : zero(dtype)}`;
    const text = n.op === "where"
      ? `select(${code[2]}, ${code[1]}, ${condition()})`
      : n.op === "cast"
      ? castCode(code[0], n.dtype, wide)
      : n.op === "bitcast"
      ? `bitcast<${typeOf(n.dtype, wide)}>(${code[0]})`
      : n.inputs.length === 2
      ? binaryCode(n.op, code[0], code[1], dtype, wide, this.helpers)
      : unaryCode(n.op, code[0], wide, this.helpers);
    return { code: this.let(text), wide };
  }

  private move(n: GraphNode, ix: Index): Value {
    const input = n.inputs[0];
    const shape = input.shape;
    if (n.op === "detach") return this.value(input, ix);
    if (n.op === "reshape") {
      const { flat, lanes } = this.byFlat(ix);
      if (lanes && lanes.step !== 1) throw new NotVectorisable();
      return this.value(input, { shape, flat, lanes, known: ix.flat ? ix.known : [] });
    }
    const { coords, lanes } = this.byCoords(ix);
    const dim = lanes?.dim as number;
    if (n.op === "permute") {
      const { dims } = n.tensor.attributes as Attributes["permute"];
      const moved: string[] = [];
      dims.forEach((d, i) => moved[d] = coords[i]);
      return this.value(input, {
        shape,
        coords: moved,
        lanes: lanes && { ...lanes, dim: dims[dim] },
      });
    }
    if (n.op === "expand") {
      const moved = coords.map((c, k) => shape[k] === 1 ? "0u" : c);
      return this.value(input, {
        shape,
        coords: moved,
        lanes: lanes && shape[dim] === 1 ? null : lanes,
      });
    }
    if (n.op === "slice") {
      const { start, step } = n.tensor.attributes as Attributes["slice"];
      const moved = coords.map((c, k) => this.affine(c, start[k], step[k]));
      const shifted = lanes && {
        dim,
        step: lanes.step * step[dim],
        aligned: lanes.aligned && step[dim] === 1 && start[dim] % 4 === 0,
      };
      return this.value(input, { shape, coords: moved, lanes: shifted });
    }
    if (n.op === "indexSelect") {
      const { dim: along } = n.tensor.attributes as Attributes["indexSelect"];
      if (lanes && dim === along) throw new NotVectorisable();
      const row = this.value(n.inputs[1], {
        shape: n.inputs[1].shape,
        flat: coords[along],
        lanes: null,
      });
      const at = this.let(`u32(${row.code})`);
      const moved = coords.map((c, k) => k === along ? at : c);
      const value = this.value(input, { shape, coords: moved, lanes });
      const none = DTYPES[n.dtype].literal(NaN);
      const nothing = value.wide ? `${typeOf(n.dtype, true)}(${none})` : none;
      const inside = `${at} < ${this.numbers.of(shape[along], "size")}`;
      return { code: this.let(`select(${nothing}, ${value.code}, ${inside})`), wide: value.wide };
    }
    return this.padded(n, coords, lanes);
  }

  /** Each part's value where it lies at the index, else what comes after it. */
  private joined(n: GraphNode, ix: Index): Value {
    const { dim } = n.tensor.attributes as Attributes["cat"];
    const { coords, lanes } = this.byCoords(ix);
    const along = lanes?.dim === dim;
    const steps = along ? this.steps(lanes.step) : "";
    const at = along ? this.let(`vec4<u32>(${coords[dim]}) + vec4<u32>(${steps})`) : coords[dim];
    let end = 0;
    const parts = n.inputs.map((input) => {
      const start = end;
      end += input.shape[dim];
      const own = start === 0
        ? coords[dim]
        : this.let(`${coords[dim]} - ${this.numbers.of(start, "start")}`);
      const single = along && input.shape[dim] === 1;
      const value = this.value(input, {
        shape: input.shape,
        coords: coords.map((c, d) => d !== dim ? c : input.shape[d] === 1 ? "0u" : own),
        lanes: single
          ? null
          : lanes && { ...lanes, aligned: lanes.aligned && (!along || start % 4 === 0) },
      });
      const bound = this.numbers.of(end, "size");
      return { value, inside: `${at} < ${along ? `vec4<u32>(${bound})` : bound}` };
    });
    const wide = along || parts.some(({ value }) => value.wide);
    const codeOf = (value: Value) => wide ? widen(value, n.dtype) : value.code;
    const last = codeOf(parts[parts.length - 1].value);
    const code = parts.slice(0, -1).reduceRight(
      (rest, { value, inside }) => this.let(`select(${rest}, ${codeOf(value)}, ${inside})`),
      last,
    );
    return { code, wide };
  }

  private affine(coord: string, start: number, step: number): string {
    if (start === 0 && step === 1) return coord;
    const scaled = Math.abs(step) === 1 ? coord : this.numbers.product(coord, Math.abs(step));
    const from = this.numbers.of(start, "start");
    return this.let(step > 0 ? `${scaled} + ${from}` : `${from} - ${scaled}`);
  }

  private padded(n: GraphNode, coords: string[], lanes: Lanes | null): Value {
    const { before, after } = n.tensor.attributes as Attributes["pad"];
    const input = n.inputs[0];
    const conditions: string[] = [];
    const wideConditions = new Set<number>();
    const moved = coords.map((c, k) => {
      if (before[k] === 0 && after[k] === 0) return c;
      // Coordinates before the start wrap around to large numbers, so one comparison serves both ends.
      const at = before[k] === 0 ? c : this.let(`${c} - ${this.numbers.of(before[k], "start")}`);
      const end = this.numbers.of(input.shape[k], "size");
      if (lanes && lanes.dim === k) {
        const steps = this.steps(lanes.step);
        const all = this.let(`vec4<u32>(${at}) + vec4<u32>(${steps})`);
        wideConditions.add(conditions.length);
        conditions.push(this.let(`${all} < vec4<u32>(${end})`));
      } else conditions.push(this.let(`${at} < ${end}`));
      return at;
    });
    // Of a single element all lanes read the same one: it has no others beside it.
    const shifted = lanes && input.shape[lanes.dim as number] > 1
      ? { ...lanes, aligned: lanes.aligned && before[lanes.dim as number] % 4 === 0 }
      : null;
    const value = this.value(input, { shape: input.shape, coords: moved, lanes: shifted });
    const wide = value.wide || wideConditions.size > 0;
    const spread = (c: string, i: number) =>
      wide && !wideConditions.has(i) ? `vec4<bool>(${c})` : c;
    const joined = conditions.map(spread).join(" & ");
    const kept = wide ? widen(value, n.dtype) : value.code;
    const nothing = wide ? `${typeOf(n.dtype, true)}()` : zero(n.dtype);
    return { code: this.let(`select(${nothing}, ${kept}, ${joined})`), wide };
  }
}

const zero = (dtype: DType) => DTYPES[dtype].literal(0);

/** WGSL of the helper functions that emitted code calls. */
export const helperSource = (names: Iterable<string>) =>
  [...names].sort().map((name) => HELPERS[name]).join("\n");

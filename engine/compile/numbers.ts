/** The numbers in a generated kernel's text: baked, or data that one text reads for many shapes. */
import { declareSizes, type Sizes } from "../../shaders/kernel.ts";
import { bitsOf } from "../../shaders/literal.ts";
import { EXACT, QUOTIENT } from "../../shaders/quotient.ts";

const ROLES = ["stride", "size", "start", "threads", "groups", "outputs", "chunk"] as const;

/** What a number counts. Equal numbers of different roles stay apart: they are equal by chance. */
export type Role = typeof ROLES[number];

/** What stands for a number in a text until {@link Numbers.finish} names it. */
const MARKS = new RegExp(`\\b(${ROLES.join("|")}|shift|mask|inverse)_(\\d+)\\b`, "g");

/** The datum of a mark. */
function datumOf(role: string, value: number): number {
  return role === "inverse" ? bitsOf(1 / value) : value;
}

const isPower = (n: number) => Number.isInteger(Math.log2(n));

/** The parts of a kernel whose numbers have got their names. */
export interface Numbered {
  /** Declarations that the statements need. */
  readonly declarations: string;
  /** The statements of the entry point, with those that read the data in front. */
  readonly statements: string;
  readonly sizes: Sizes | undefined;
}

/** Writes numbers into a kernel's text. */
export class Numbers {
  /** @param data whether numbers become data; otherwise they are baked. */
  constructor(private readonly data: boolean) {}

  /** A WGSL `u32` expression of `value`. */
  of(value: number, role: Role): string {
    return this.data ? `${role}_${value}` : `${value}u`;
  }

  /** WGSL of `x * by`, where `x` is a name. Compilers shift for a baked power of two; so do data. */
  product(x: string, by: number): string {
    if (this.data && isPower(by)) return `(${x} << shift_${Math.log2(by)})`;
    return `${x} * ${this.of(by, "stride")}`;
  }

  /**
   * WGSL of `x / by`.
   *
   * @param x a name.
   * @param bound what `x` is less than.
   */
  quotient(x: string, by: number, bound: number): string {
    if (this.data && isPower(by)) return `(${x} >> shift_${Math.log2(by)})`;
    if (this.data && bound <= EXACT) return `quotient(${x}, inverse_${by})`;
    return `${x} / ${this.of(by, "size")}`;
  }

  /** WGSL of `x % by`, as {@link quotient}. */
  remainder(x: string, by: number, bound: number): string {
    if (this.data && isPower(by)) return `(${x} & mask_${by - 1})`;
    const size = this.of(by, "size");
    if (this.data && bound <= EXACT) return `${x} - ${this.quotient(x, by, bound)} * ${size}`;
    return `${x} % ${size}`;
  }

  /** Names the numbers in the statements of an entry point, in the order in which they occur. */
  finish(statements: string): Numbered {
    const names = new Map<string, string>();
    const sizes: Record<string, number> = {};
    const named = statements.replace(MARKS, (mark: string, role: string, value: string) => {
      let name = names.get(mark);
      if (!name) {
        names.set(mark, name = `${role}${names.size}`);
        sizes[name] = datumOf(role, Number(value));
      }
      return name;
    });
    if (names.size === 0) return { declarations: "", statements, sizes: undefined };
    const reads = [...names.values()].map((name) =>
      `let ${name} = ${
        name.startsWith("inverse") ? `bitcast<f32>(sizes.${name})` : `sizes.${name}`
      };`
    );
    const divides = named.includes("quotient(");
    return {
      declarations: `${declareSizes(sizes)}\n${divides ? QUOTIENT : ""}`,
      statements: [...reads, named].join("\n  "),
      sizes,
    };
  }
}

/** Bakes all numbers. */
export const BAKED = new Numbers(false);

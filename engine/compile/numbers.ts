/** The numbers in a generated kernel's text: baked, or data that one text reads for many shapes. */
import { declareSizes, type Sizes } from "../../shaders/kernel.ts";

/** What a number counts. Equal numbers of different roles stay apart: they are equal by chance. */
export type Role =
  | "stride"
  | "size"
  | "start"
  | "threads"
  | "groups"
  | "outputs"
  | "chunk";

/** Writes numbers into a kernel's text, and remembers those that became data. */
export class Numbers {
  private readonly names = new Map<string, string>();
  private readonly values: Record<string, number> = {};

  /** @param data whether numbers become data; otherwise they are baked. */
  constructor(private readonly data: boolean) {}

  /** A WGSL `u32` expression of `value`. */
  of(value: number, role: Role): string {
    if (!this.data) return `${value}u`;
    const key = `${role} ${value}`;
    let name = this.names.get(key);
    if (!name) {
      name = `${role}${this.names.size}`;
      this.names.set(key, name);
      this.values[name] = value;
    }
    return name;
  }

  /** The data, if there is any. */
  get sizes(): Sizes | undefined {
    return this.names.size > 0 ? this.values : undefined;
  }

  /** WGSL that declares the data. */
  get declaration(): string {
    return this.sizes ? declareSizes(this.sizes) : "";
  }

  /** Statements at the head of `main` that read the data. */
  get reads(): string {
    return Object.keys(this.values).map((name) => `let ${name} = sizes.${name};`).join("\n  ");
  }
}

/** Bakes all numbers. */
export const BAKED = new Numbers(false);

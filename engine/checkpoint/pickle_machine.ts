/** The stack machine that pickles are programs for. */
import { type Fail, shortened } from "../errors.ts";
import type { PickleReader } from "./pickle_reader.ts";
import { type Dictionary, Global, type PickleValue, Tuple, typeName } from "./pickle_values.ts";

/** Decides what the objects of a pickle are; nothing else is ever made. */
export interface PickleHost {
  /** Whether a pickle may name this class or function at all. */
  knows(global: string): boolean;
  /** The result of calling it; no code of the pickle is involved. */
  call(global: Global, args: readonly PickleValue[]): PickleValue;
  /** The object that is kept outside of the pickle under this identity. */
  persistent(id: PickleValue): PickleValue;
}

/**
 * Steps that one pickle may take. A step makes a few hundred bytes at most, so this also bounds the
 * memory; checkpoints take about 30 steps a tensor.
 */
const MAX_STEPS = 1 << 22;
/** Longest integer, in bytes. */
const MAX_INTEGER = 1024;

/** Stack, marks and memo of one pickle that is being read. */
export class PickleMachine {
  private stack: PickleValue[] = [];
  private readonly marks: PickleValue[][] = [];
  private readonly memo = new Map<number, PickleValue>();
  private steps = 0;

  /** A machine that has done nothing. */
  constructor(
    readonly reader: PickleReader,
    readonly host: PickleHost,
    readonly fail: Fail,
  ) {}

  /** Counts `steps` more of them; copying counts as well. */
  spend(steps: number): void {
    this.steps += steps;
    if (this.steps > MAX_STEPS) {
      throw this.fail(`its pickle takes more than ${MAX_STEPS.toLocaleString("en")} steps`);
    }
  }

  /** Puts a value on the stack. */
  push(value: PickleValue): void {
    this.stack.push(value);
  }

  /** Takes the last value from the stack. */
  pop(): PickleValue {
    const value = this.stack.pop();
    if (value === undefined) throw this.fail(`its stack is empty at ${this.place}`);
    return value;
  }

  /** Takes the last `count` values from the stack, and gives them in their order. */
  popMany(count: number): PickleValue[] {
    if (count > this.stack.length) throw this.fail(`its stack is empty at ${this.place}`);
    return this.stack.splice(this.stack.length - count, count);
  }

  /** The last value, which stays. */
  get top(): PickleValue {
    const value = this.stack.at(-1);
    if (value === undefined) throw this.fail(`its stack is empty at ${this.place}`);
    return value;
  }

  /** Where the machine is, for errors. */
  get place(): string {
    return `byte ${this.reader.position} of its pickle`;
  }

  /** Puts a mark on the stack. */
  mark(): void {
    this.marks.push(this.stack);
    this.stack = [];
  }

  /** Takes everything above the last mark, and the mark. */
  popMark(): PickleValue[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (below === undefined) throw this.fail(`a mark is missing at ${this.place}`);
    this.stack = below;
    return items;
  }

  /** Remembers the last value under a number; without one, under the next. */
  remember(index: number = this.memo.size): void {
    this.memo.set(index, this.top);
  }

  /** Puts a remembered value on the stack. */
  recall(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) throw this.fail(`nothing was remembered for ${this.place}`);
    this.push(value);
  }

  /** The last value as a list. */
  get list(): PickleValue[] {
    const { top } = this;
    if (!Array.isArray(top)) throw this.wrongType("a list", top);
    return top;
  }

  /** The last value as a dictionary. */
  get dictionary(): Dictionary {
    const { top } = this;
    if (!(top instanceof Map)) throw this.wrongType("a dictionary", top);
    return top;
  }

  /** The last value as a set. */
  get set(): Set<PickleValue> {
    const { top } = this;
    if (!(top instanceof Set)) throw this.wrongType("a set", top);
    return top;
  }

  /** Sets keys and values, given in turns. */
  setItems(target: Dictionary, items: readonly PickleValue[]): void {
    if (items.length % 2 > 0) throw this.fail(`a value is missing at ${this.place}`);
    for (let i = 0; i < items.length; i += 2) target.set(this.key(items[i]), items[i + 1]);
  }

  /** A value that can be a key. */
  key(value: PickleValue): PickleValue {
    if (Array.isArray(value) || value instanceof Map || value instanceof Set) {
      throw this.wrongType("a key", value);
    }
    return value;
  }

  /** Replaces a callable and its arguments by the result. */
  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof Global)) throw this.wrongType("a function", callee);
    if (!(args instanceof Tuple)) throw this.wrongType("a tuple of arguments", args);
    this.push(this.host.call(callee, args.items));
  }

  /** Puts the mark of a class or function on the stack, if the host knows it. */
  global(name: string): void {
    if (!this.host.knows(name)) {
      throw this.fail(
        `it asks for ${shortened(name)}, which no tensor needs, so nothing was loaded`,
      );
    }
    this.push(new Global(name));
  }

  /** Text from the stack. */
  popText(): string {
    const value = this.pop();
    if (typeof value !== "string") throw this.wrongType("text", value);
    return value;
  }

  /** An integer of two's complement. */
  integer(length: number): number | bigint {
    if (length > MAX_INTEGER) throw this.fail(`it has an integer of ${length} bytes`);
    if (length === 0) return 0;
    const bytes = this.reader.bytes(length).toReversed();
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const value = BigInt.asIntN(8 * length, BigInt(`0x${digits}`));
    return narrowed(value);
  }

  private wrongType(wanted: string, value: PickleValue) {
    return this.fail(`it has ${typeName(value)} in the place of ${wanted} at ${this.place}`);
  }
}

/** An integer as a number where that is exact. */
export function narrowed(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

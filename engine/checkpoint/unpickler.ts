/**
 * Reads pickles of protocols 2 to 5 as data: nothing is imported, called or executed. Of the
 * operations, those that text protocols used are left out, and so are extension codes and buffers
 * outside of the pickle. Source: CPython's `pickletools.py`.
 */
import type { Fail } from "../errors.ts";
import type { ByteSource } from "./byte_source.ts";
import { narrowed, type PickleHost, PickleMachine } from "./pickle_machine.ts";
import { PickleReader } from "./pickle_reader.ts";
import { type PickleValue, Tuple } from "./pickle_values.ts";

type Operation = (m: PickleMachine) => void;

const STOP = 0x2e;
const MAX_PROTOCOL = 5;

const bytesOf = (m: PickleMachine, length: 1 | 4 | 8) => m.reader.bytes(m.reader.length(length));
const tupleOf = (count: number): Operation => (m) => m.push(new Tuple(m.popMany(count)));

/** What Python 2 wrote as text may be either; keys and names are always UTF-8. */
function python2Text(bytes: Uint8Array): string | Uint8Array {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return bytes.slice();
  }
}

function lineInteger(m: PickleMachine): PickleValue {
  const line = m.reader.line();
  if (line === "00" || line === "01") return line === "01";
  if (!/^-?\d{1,40}$/.test(line)) throw m.fail(`an integer is missing at ${m.place}`);
  return narrowed(BigInt(line));
}

const NUMBERS: readonly [number, Operation][] = [
  [0x4e, (m) => m.push(null)],
  [0x88, (m) => m.push(true)],
  [0x89, (m) => m.push(false)],
  [0x49, (m) => m.push(lineInteger(m))],
  [0x4a, (m) => m.push(m.reader.view(4).getInt32(0, true))],
  [0x4b, (m) => m.push(m.reader.byte())],
  [0x4d, (m) => m.push(m.reader.view(2).getUint16(0, true))],
  [0x8a, (m) => m.push(m.integer(m.reader.length(1)))],
  [0x8b, (m) => m.push(m.integer(m.reader.length(4)))],
  [0x47, (m) => m.push(m.reader.view(8).getFloat64(0))],
];

const STRINGS: readonly [number, Operation][] = [
  [0x58, (m) => m.push(m.reader.text(m.reader.length(4)))],
  [0x8c, (m) => m.push(m.reader.text(m.reader.length(1)))],
  [0x8d, (m) => m.push(m.reader.text(m.reader.length(8)))],
  [0x54, (m) => m.push(python2Text(bytesOf(m, 4)))],
  [0x55, (m) => m.push(python2Text(bytesOf(m, 1)))],
  [0x42, (m) => m.push(bytesOf(m, 4).slice())],
  [0x43, (m) => m.push(bytesOf(m, 1).slice())],
  [0x8e, (m) => m.push(bytesOf(m, 8).slice())],
  [0x96, (m) => m.push(bytesOf(m, 8).slice())],
];

const CONTAINERS: readonly [number, Operation][] = [
  [0x29, (m) => m.push(new Tuple([]))],
  [0x85, tupleOf(1)],
  [0x86, tupleOf(2)],
  [0x87, tupleOf(3)],
  [0x74, (m) => m.push(new Tuple(m.popMark()))],
  [0x5d, (m) => m.push([])],
  [0x6c, (m) => m.push(m.popMark())],
  [0x61, (m) => {
    const item = m.pop();
    m.list.push(item);
  }],
  [0x65, (m) => {
    const items = m.popMark();
    const { list } = m;
    for (const item of items) list.push(item);
  }],
  [0x7d, (m) => m.push(new Map())],
  [0x64, (m) => {
    const items = m.popMark();
    m.push(new Map());
    m.setItems(m.dictionary, items);
  }],
  [0x73, (m) => {
    const items = m.popMany(2);
    m.setItems(m.dictionary, items);
  }],
  [0x75, (m) => {
    const items = m.popMark();
    m.setItems(m.dictionary, items);
  }],
  [0x8f, (m) => m.push(new Set())],
  [0x90, (m) => {
    const items = m.popMark();
    const { set } = m;
    for (const item of items) set.add(m.key(item));
  }],
  [0x91, (m) => m.push(new Set(m.popMark().map((item) => m.key(item))))],
];

const STACK: readonly [number, Operation][] = [
  [0x28, (m) => m.mark()],
  [0x30, (m) => void m.pop()],
  [0x31, (m) => void m.popMark()],
  [0x32, (m) => m.push(m.top)],
  [0x68, (m) => m.recall(m.reader.byte())],
  [0x6a, (m) => m.recall(m.reader.length(4))],
  [0x71, (m) => m.remember(m.reader.byte())],
  [0x72, (m) => m.remember(m.reader.length(4))],
  [0x94, (m) => m.remember()],
];

const OBJECTS: readonly [number, Operation][] = [
  [0x80, (m) => {
    const protocol = m.reader.byte();
    if (protocol > MAX_PROTOCOL) throw m.fail(`its pickle has the unknown protocol ${protocol}`);
  }],
  // A frame says how much may be read ahead, which the reader does anyway.
  [0x95, (m) => void m.reader.bytes(8)],
  [0x63, (m) => {
    const module = m.reader.line();
    m.global(`${module}.${m.reader.line()}`);
  }],
  [0x93, (m) => {
    const name = m.popText();
    m.global(`${m.popText()}.${name}`);
  }],
  [0x52, (m) => m.call()],
  [0x81, (m) => m.call()],
  // Attributes of a dictionary, such as the `_metadata` of a state dict, are of no use here.
  [0x62, (m) => {
    m.pop();
    void m.dictionary;
  }],
  [0x51, (m) => m.push(m.host.persistent(m.pop()))],
];

const OPERATIONS: ReadonlyMap<number, Operation> = new Map([
  ...NUMBERS,
  ...STRINGS,
  ...CONTAINERS,
  ...STACK,
  ...OBJECTS,
]);

/**
 * Reads the pickle at a position.
 *
 * @returns its value, and the position behind it.
 * @throws {UserError} where it is damaged, too long or asks for what `host` does not know.
 */
export function unpickle(
  source: ByteSource,
  position: number,
  host: PickleHost,
  fail: Fail,
): { value: PickleValue; end: number } {
  const reader = new PickleReader(source, position, fail);
  const machine = new PickleMachine(reader, host, fail);
  for (;;) {
    const code = reader.byte();
    if (code === STOP) return { value: machine.pop(), end: reader.position };
    const operation = OPERATIONS.get(code);
    if (!operation) {
      throw fail(`the operation 0x${code.toString(16)} at ${machine.place} is unknown`);
    }
    machine.spend(1);
    operation(machine);
  }
}

/** The unpickler: every operation of protocols 2 to 5, and what it refuses. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { memorySource } from "../engine/checkpoint/byte_source.ts";
import type { PickleHost } from "../engine/checkpoint/pickle_machine.ts";
import { Global, type PickleValue, Tuple } from "../engine/checkpoint/pickle_values.ts";
import { unpickle } from "../engine/checkpoint/unpickler.ts";
import { UserError } from "../engine/errors.ts";
import { concat, littleEndian, Pickle } from "./checkpoint_files.ts";

const calls: string[] = [];
const host: PickleHost = {
  knows: (name) => name.startsWith("known."),
  call: ({ name }, args) => {
    calls.push(`${name}(${args.length})`);
    return args.length;
  },
  persistent: (id) => ["persistent", id],
};
const fail = (reason: string) => new UserError(`The pickle is wrong: ${reason}.`);

const load = (bytes: Uint8Array, position = 0) =>
  unpickle(memorySource("the pickle", bytes), position, host, fail);
const value = (p: Pickle) => load(p.end()).value;
const pickle = (protocol = 2) => new Pickle(protocol);
const tuple = (...items: PickleValue[]) => new Tuple(items);

const VALUES: readonly [what: string, Pickle, PickleValue][] = [
  ["None", pickle().op(0x4e), null],
  ["booleans", pickle().op(0x88, 0x89, 0x86), tuple(true, false)],
  ["an integer of 1 byte", pickle().op(0x4b, 255), 255],
  ["an integer of 2 bytes", pickle().op(0x4d, 1, 2), 513],
  ["an integer of 4 bytes", pickle().int(-2), -2],
  ["a long integer", pickle().op(0x8a, 9, ...littleEndian(2n ** 70n, 9)), 2n ** 70n],
  ["a negative long", pickle().op(0x8a, 9, ...littleEndian(-(2n ** 64n), 9)), -(2n ** 64n)],
  ["a short long", pickle().op(0x8a, 2, 0xff, 0x7f), 32767],
  ["an empty long", pickle().op(0x8a, 0), 0],
  ["a long of counted length", pickle().op(0x8b, 1, 0, 0, 0, 0xfe), -2],
  ["an integer of Python 2", pickle().ascii("I-12345678901\n"), -12345678901],
  ["a boolean of Python 1", pickle().ascii("I01\n"), true],
  ["a float", pickle().op(0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0), 1.5],
  ["text", pickle().text("ünï"), "ünï"],
  ["short text", pickle(4).op(0x8c, 2, 0x61, 0x62), "ab"],
  ["long text", pickle(4).op(0x8d, ...littleEndian(1, 8), 0x61), "a"],
  ["text of Python 2", pickle().op(0x55, 2, 0x61, 0x62), "ab"],
  ["long text of Python 2", pickle().op(0x54, ...littleEndian(1, 4), 0x61), "a"],
  ["binary text of Python 2", pickle().op(0x55, 1, 0xff), Uint8Array.of(255)],
  ["short bytes", pickle(3).op(0x43, 2, 1, 2), Uint8Array.of(1, 2)],
  ["bytes", pickle(3).op(0x42, ...littleEndian(1, 4), 7), Uint8Array.of(7)],
  ["long bytes", pickle(4).op(0x8e, ...littleEndian(1, 8), 7), Uint8Array.of(7)],
  ["a bytearray", pickle(5).op(0x96, ...littleEndian(1, 8), 7), Uint8Array.of(7)],
  [
    "tuples",
    pickle().op(0x29, 0x85, 0x4e, 0x86, 0x4e, 0x4e, 0x87),
    tuple(
      tuple(tuple(tuple()), null),
      null,
      null,
    ),
  ],
  ["a marked tuple", pickle().ints([1, 2, 3, 4]), tuple(1, 2, 3, 4)],
  ["a list", pickle().op(0x5d, 0x4b, 1, 0x61, 0x28, 0x4b, 2, 0x4b, 3, 0x65), [1, 2, 3]],
  ["a marked list", pickle().op(0x28, 0x4b, 1, 0x6c), [1]],
  ["a dictionary", pickle().op(0x7d, 0x4b, 1, 0x4e, 0x73), new Map([[1, null]])],
  ["a marked dictionary", pickle().op(0x28, 0x4b, 1, 0x4b, 2, 0x64), new Map([[1, 2]])],
  [
    "many items",
    pickle().dict((p) => p.text("a").int(1).text("b").int(2)),
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  ],
  ["a set", pickle(4).op(0x8f, 0x28, 0x4b, 1, 0x4b, 1, 0x90), new Set([1])],
  ["a frozen set", pickle(4).op(0x28, 0x4b, 1, 0x91), new Set([1])],
  ["what is dropped", pickle().op(0x4b, 1, 0x4e, 0x30, 0x28, 0x4e, 0x31), 1],
  ["what is doubled", pickle().op(0x4b, 1, 0x32, 0x86), tuple(1, 1)],
  ["the memo", pickle().op(0x4b, 7, 0x71, 9, 0x68, 9, 0x86), tuple(7, 7)],
  [
    "the wide memo",
    pickle().op(0x4b, 7, 0x72, 255, 255, 255, 255, 0x6a, 255, 255, 255, 255, 0x86),
    tuple(7, 7),
  ],
  ["the counted memo", pickle(4).op(0x4b, 7, 0x94, 0x4b, 8, 0x94, 0x68, 0, 0x87), tuple(7, 8, 7)],
  ["a frame", pickle(4).op(0x95, ...littleEndian(2, 8), 0x4b, 1), 1],
  ["a known name", pickle().global("known", "thing"), new Global("known.thing")],
  [
    "a known name from the stack",
    pickle(4).text("known").text("a.b").op(0x93),
    new Global("known.a.b"),
  ],
  ["a call", pickle().global("known", "f").ints([1, 2]).op(0x52), 2],
  ["a new object", pickle().global("known", "C").op(0x29, 0x81), 0],
  ["attributes of a dictionary", pickle().op(0x7d, 0x7d, 0x62), new Map()],
  ["an outer object", pickle().op(0x4b, 5, 0x51), ["persistent", 5]],
];

for (const [what, program, wanted] of VALUES) {
  Deno.test(`unpickle() gives ${what}`, () => deepEqual(value(program), wanted));
}

Deno.test("unpickle() keeps identity when a list contains itself", () => {
  const list = value(pickle().op(0x5d, 0x71, 0, 0x68, 0, 0x61)) as PickleValue[];
  equal(list[0], list);
});

Deno.test("unpickle() tells where the next pickle begins when several follow each other", () => {
  const bytes = concat([pickle().op(0x4b, 1).end(), pickle().op(0x4b, 2).end()]);
  const first = load(bytes);
  equal(first.value, 1);
  deepEqual(load(bytes, first.end), { value: 2, end: bytes.length });
});

Deno.test("unpickle() reads values that are longer than a block of the file", () => {
  const long = "ä".repeat(100_000);
  const program = pickle().op(0x28);
  for (let i = 0; i < 3; i++) program.text(long).global("known", `name${i}`).text("short");
  const [a, b] = (value(program.op(0x74)) as Tuple).items;
  equal(a, long);
  deepEqual(b, new Global("known.name0"));
});

const REFUSED: readonly [what: string, Uint8Array, message: RegExp][] = [
  ["it is empty", new Uint8Array(0), /ends within a value of 1 bytes at byte 0/],
  ["it has no end", pickle().op(0x4e).end().slice(0, -1), /ends within a value/],
  ["the stack is empty", pickle().end(), /its stack is empty at byte 3/],
  ["a tuple lacks items", pickle().op(0x4e, 0x86).end(), /its stack is empty/],
  ["a mark is missing", pickle().op(0x74).end(), /a mark is missing/],
  ["the memo is empty", pickle().op(0x68, 3).end(), /nothing was remembered/],
  ["nothing can be remembered", pickle().op(0x71, 3).end(), /its stack is empty/],
  ["an operation is unknown", pickle().op(0xff).end(), /operation 0xff at byte 3 .* is unknown/],
  ["it has a text operation", pickle().ascii("S'a'\n").end(), /operation 0x53 .* is unknown/],
  ["it makes an instance", pickle().op(0x28).ascii("iknown\nC\n").end(), /operation 0x69/],
  ["it uses an extension", pickle().op(0x82, 1).end(), /operation 0x82/],
  ["its data are elsewhere", pickle(5).op(0x97).end(), /operation 0x97/],
  ["the protocol is unknown", pickle(6).op(0x4e).end(), /unknown protocol 6/],
  ["a name is unknown", pickle().global("posix", "system").end(), /asks for posix\.system, which/],
  [
    "an unknown name comes from the stack",
    pickle(4).text("builtins").text("eval").op(0x93).end(),
    /asks for builtins\.eval/,
  ],
  [
    "a name is no text",
    pickle(4).op(0x4b, 1).text("x").op(0x93).end(),
    /it has int in the place of text at byte/,
  ],
  ["a name has no end", pickle().ascii("cposix").end(), /the line at byte 3 has no end/],
  [
    "a name is endless",
    pickle().ascii(`c${"x".repeat(100_000)}\n`).end(),
    /the line at byte 3 has no end/,
  ],
  [
    "a number is called",
    pickle().op(0x4b, 1, 0x29, 0x52).end(),
    /it has int in the place of a function/,
  ],
  [
    "arguments are no tuple",
    pickle().global("known", "f").op(0x5d, 0x52).end(),
    /it has list in the place of a tuple of arguments/,
  ],
  [
    "a tuple is appended to",
    pickle().op(0x29, 0x4e, 0x61).end(),
    /it has tuple in the place of a list/,
  ],
  [
    "a list gets keys",
    pickle().op(0x5d, 0x4e, 0x4e, 0x73).end(),
    /it has list in the place of a dictionary/,
  ],
  [
    "a list is built",
    pickle().op(0x5d, 0x4e, 0x62).end(),
    /it has list in the place of a dictionary/,
  ],
  [
    "a dictionary is added to",
    pickle().op(0x7d, 0x28, 0x90).end(),
    /it has dict in the place of a set/,
  ],
  [
    "a list is a key",
    pickle().op(0x7d, 0x5d, 0x4e, 0x73).end(),
    /it has list in the place of a key/,
  ],
  ["a value is missing", pickle().op(0x7d, 0x28, 0x4e, 0x75).end(), /a value is missing/],
  ["text is no UTF-8", pickle().op(0x58, 1, 0, 0, 0, 0xff).end(), /is no UTF-8/],
  ["text is longer than the file", pickle().op(0x58, 255, 255, 255, 255).end(), /of 4294967295 b/],
  [
    "bytes are longer than any file",
    pickle().op(0x8e, ...Array(8).fill(255)).end(),
    /a value of 184467440737095\d+ bytes/,
  ],
  ["an integer is endless", pickle().op(0x8b, 0, 8, 0, 0).end(), /an integer of 2048 bytes/],
  ["an integer is no number", pickle().ascii("I1e3\n").end(), /an integer is missing/],
];

for (const [what, bytes, message] of REFUSED) {
  Deno.test(`unpickle() throws a sentence when ${what}`, () => {
    calls.length = 0;
    throws(() => load(bytes), { name: "UserError", message });
    deepEqual(calls, []);
  });
}

Deno.test("unpickle() throws when a pickle takes millions of steps", () => {
  const bytes = new Uint8Array(5 << 20).fill(0x5d);
  throws(() => load(bytes), /takes more than 4,194,304 steps/);
});

Deno.test("unpickle() shows a name in one short line when it contains anything", () => {
  const name = `a\u0007b\u2028${"x".repeat(900)}`;
  try {
    load(pickle(4).text("evil").text(name).op(0x93).end());
    ok(false, "it was read");
  } catch (error) {
    const { message } = error as Error;
    ok(/^[^\p{Cc}\u2028]{20,200}$/u.test(message), message);
  }
});

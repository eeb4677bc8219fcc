/** The operators of the pickle virtual machine, protocols 0 to 5 (CPython, Lib/pickletools.py). */
import { SCAN_LIMITS } from "../limits.ts";
import type { Machine } from "./machine.ts";
import { decodeRawUnicode, decodeString } from "./text.ts";
import { OTHER, PickleError, type Value } from "./values.ts";

type Operator = (machine: Machine) => void;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function line(machine: Machine): Uint8Array {
  return machine.cursor.line(SCAN_LIMITS.pickleLineBytes);
}

function ascii(machine: Machine): string {
  return Buffer.from(line(machine)).toString("latin1");
}

function utf8Line(machine: Machine): string {
  try {
    return decoder.decode(line(machine));
  } catch (error) {
    if (error instanceof TypeError) throw new PickleError("a name is not UTF-8");
    throw error;
  }
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value)) throw new PickleError("a number is not valid");
  return value;
}

function pushData(machine: Machine, length: number): void {
  machine.events.data(machine.cursor.take(length));
  machine.push(OTHER);
}

/** Text from a file; only what is short enough to be a name is kept. */
function pushText(machine: Machine, bytes: Uint8Array): void {
  machine.events.data(bytes);
  machine.push(keep(Buffer.from(bytes).toString("utf8")));
}

function keep(text: string): Value {
  return text.length <= SCAN_LIMITS.pickleKeptCharacters ? text : OTHER;
}

function longLength(machine: Machine): number {
  return machine.cursor.length(Number.MAX_SAFE_INTEGER, "a length");
}

const other: Operator = (machine) => machine.push(OTHER);
const skip =
  (bytes: number): Operator =>
  (machine) => {
    machine.cursor.skip(bytes);
    machine.push(OTHER);
  };
const tuple =
  (size: number): Operator =>
  (machine) => {
    for (let index = 0; index < size; index++) machine.pop();
    machine.push(OTHER);
  };
const readLine: Operator = (machine) => {
  line(machine);
  machine.push(OTHER);
};
const fromMark: Operator = (machine) => {
  machine.popMark();
  machine.push(OTHER);
};
const change =
  (values: number): Operator =>
  (machine) => {
    for (let index = 0; index < values; index++) machine.pop();
    machine.change(machine.top());
  };
const changeFromMark: Operator = (machine) => {
  machine.popMark();
  machine.change(machine.top());
};
const extension =
  (bytes: number): Operator =>
  (machine) => {
    machine.cursor.skip(bytes);
    machine.events.extension();
    machine.push(OTHER);
  };
const callWith =
  (values: number): Operator =>
  (machine) => {
    for (let index = 0; index < values; index++) machine.pop();
    machine.call(machine.pop());
  };

function readTextLine(machine: Machine, decode: (bytes: Uint8Array) => string | undefined): void {
  const text = decode(line(machine));
  if (text === undefined) throw new PickleError("a string is not quoted");
  machine.events.data(Buffer.from(text, "latin1"));
  machine.push(keep(text));
}

function inst(machine: Machine): void {
  const module = utf8Line(machine);
  const name = utf8Line(machine);
  machine.popMark();
  machine.import(module, name);
  machine.call(machine.pop());
}

function obj(machine: Machine): void {
  const [callable] = machine.popMark();
  if (callable === undefined) throw new PickleError("OBJ finds no class");
  machine.call(callable);
}

function stackGlobal(machine: Machine): void {
  const name = machine.pop();
  machine.import(machine.pop(), name);
}

function proto(machine: Machine): void {
  const version = machine.cursor.u8();
  if (version > 5) throw new PickleError(`protocol ${version} does not exist`);
}

function stop(machine: Machine): void {
  machine.pop();
  machine.stopped = true;
}

const TABLE: readonly (readonly [string | number, Operator])[] = [
  ["(", (machine) => machine.mark()],
  [".", stop],
  ["0", (machine) => machine.popAny()],
  ["1", (machine) => void machine.popMark()],
  ["2", (machine) => machine.push(machine.top())],
  ["F", readLine],
  ["I", readLine],
  ["L", readLine],
  ["J", skip(4)],
  ["K", skip(1)],
  ["M", skip(2)],
  ["G", skip(8)],
  ["N", other],
  ["P", readLine],
  ["Q", tuple(1)],
  ["R", callWith(1)],
  ["S", (machine) => readTextLine(machine, decodeString)],
  ["T", (machine) => pushText(machine, machine.cursor.take(unsigned(machine.cursor.i32())))],
  ["U", (machine) => pushText(machine, machine.cursor.take(machine.cursor.u8()))],
  ["V", (machine) => readTextLine(machine, decodeRawUnicode)],
  ["X", (machine) => pushText(machine, machine.cursor.take(machine.cursor.u32()))],
  ["a", change(1)],
  ["b", change(1)],
  ["c", (machine) => void machine.import(utf8Line(machine), utf8Line(machine))],
  ["d", fromMark],
  ["}", other],
  ["e", changeFromMark],
  ["g", (machine) => machine.memoGet(decimal(ascii(machine)))],
  ["h", (machine) => machine.memoGet(machine.cursor.u8())],
  ["i", inst],
  ["j", (machine) => machine.memoGet(machine.cursor.u32())],
  ["l", fromMark],
  ["]", other],
  ["o", obj],
  ["p", (machine) => machine.memoSet(decimal(ascii(machine)))],
  ["q", (machine) => machine.memoSet(machine.cursor.u8())],
  ["r", (machine) => machine.memoSet(machine.cursor.u32())],
  ["s", change(2)],
  ["t", fromMark],
  [")", other],
  ["u", changeFromMark],
  ["B", (machine) => pushData(machine, machine.cursor.u32())],
  ["C", (machine) => pushData(machine, machine.cursor.u8())],
  [0x80, proto],
  [0x81, callWith(1)],
  [0x82, extension(1)],
  [0x83, extension(2)],
  [0x84, extension(4)],
  [0x85, tuple(1)],
  [0x86, tuple(2)],
  [0x87, tuple(3)],
  [0x88, other],
  [0x89, other],
  [0x8a, (machine) => skip(machine.cursor.u8())(machine)],
  [0x8b, (machine) => skip(unsigned(machine.cursor.i32()))(machine)],
  [0x8c, (machine) => pushText(machine, machine.cursor.take(machine.cursor.u8()))],
  [0x8d, (machine) => pushText(machine, machine.cursor.take(longLength(machine)))],
  [0x8e, (machine) => pushData(machine, longLength(machine))],
  [0x8f, other],
  [0x90, changeFromMark],
  [0x91, fromMark],
  [0x92, callWith(2)],
  [0x93, stackGlobal],
  [0x94, (machine) => machine.memoNext()],
  [0x95, (machine) => machine.cursor.skip(8)],
  [0x96, (machine) => pushData(machine, longLength(machine))],
  [0x97, other],
  [0x98, (machine) => void machine.top()],
];

function unsigned(value: number): number {
  if (value < 0) throw new PickleError("a length is negative");
  return value;
}

/** By code; a hole where there is no operator. */
export const OPERATORS: readonly (Operator | undefined)[] = TABLE.reduce<(Operator | undefined)[]>(
  (table, [code, operator]) => {
    table[typeof code === "string" ? code.charCodeAt(0) : code] = operator;
    return table;
  },
  new Array(256).fill(undefined),
);

/** An unpickler that only pretends: every operator of protocols 0 to 5 on a symbolic stack, nothing imported or called. */
import type { Cursor } from "../../artifact/index.ts";
import { SCAN_LIMITS } from "../limits.ts";
import { OPERATORS } from "./operators.ts";
import { Global, OTHER, PickleError, type PickleEvents, PickleLimit, type Value } from "./values.ts";

export class Machine {
  readonly cursor: Cursor;
  readonly events: PickleEvents;
  stopped = false;
  readonly #maxOperators: number;
  readonly #stack: Value[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, Value>();

  constructor(cursor: Cursor, events: PickleEvents, maxOperators: number = SCAN_LIMITS.pickleOperators) {
    this.cursor = cursor;
    this.events = events;
    this.#maxOperators = maxOperators;
  }

  /** Runs to the operator STOP. Throws PickleError, PickleLimit, or HEADER_INVALID at the end of the file. */
  run(): void {
    for (let count = 0; !this.stopped; count++) {
      if (count >= this.#maxOperators) throw new PickleLimit(`over ${this.#maxOperators} operators`);
      const code = this.cursor.u8();
      const operator = OPERATORS[code];
      if (!operator) throw new PickleError(`the operator 0x${code.toString(16).padStart(2, "0")} does not exist`);
      operator(this);
    }
  }

  push(value: Value): void {
    if (this.#stack.length >= SCAN_LIMITS.pickleStackItems) throw new PickleLimit("the stack is too deep");
    this.#stack.push(value);
  }

  pop(): Value {
    const value = this.#stack.length > this.#floor ? this.#stack.pop() : undefined;
    if (value === undefined) throw new PickleError("an operator finds the stack empty");
    return value;
  }

  top(): Value {
    const value = this.pop();
    this.#stack.push(value);
    return value;
  }

  mark(): void {
    if (this.#marks.length >= SCAN_LIMITS.pickleStackItems) throw new PickleLimit("the stack is too deep");
    this.#marks.push(this.#stack.length);
  }

  /** What lies above the last mark; the mark goes too. */
  popMark(): Value[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw new PickleError("an operator finds no mark");
    return this.#stack.splice(mark);
  }

  /** POP takes a value, or the mark when there is none above it. */
  popAny(): void {
    if (this.#stack.length > this.#floor) this.#stack.pop();
    else this.popMark();
  }

  memoSet(index: number): void {
    if (this.#memo.size >= SCAN_LIMITS.pickleMemoItems) throw new PickleLimit("the memo is too large");
    this.#memo.set(index, this.top());
  }

  memoNext(): void {
    this.memoSet(this.#memo.size);
  }

  memoGet(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw new PickleError("an operator asks for a memo entry that is not there");
    this.push(value);
  }

  import(module: Value, name: Value): Global | undefined {
    const global = typeof module === "string" && typeof name === "string" ? new Global(module, name) : undefined;
    this.events.imported(global);
    this.push(global ?? OTHER);
    return global;
  }

  call(callable: Value): void {
    this.events.called(callable instanceof Global ? callable : undefined);
    this.push(OTHER);
  }

  change(target: Value): void {
    if (target instanceof Global) this.events.tampered(target);
  }

  get #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }
}

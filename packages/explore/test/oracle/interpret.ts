import { type Kind, OK, type Operation, type Point, type Thread } from './points.ts';
import { type Cell, type Operand, REGISTERS, type Statement, type Test, type ThreadText } from './program.ts';

// A thread as a list of instructions and a state of (place in the list, registers). Threads that come to the same state by different
// ways are at the same point, since what they do from there is the same.

/** One more register than the program sees, for what the loops read. It is 0 whenever no loop is in the middle of something. */
const HIDDEN = REGISTERS;

type Registers = readonly number[];

type Instruction =
  | {
      readonly is: 'ask';
      readonly look: Point['look'];
      operation(registers: Registers): Operation;
      /** Where the answer leads. */
      goes(answer: number, registers: Registers, at: number): State;
    }
  | { readonly is: 'jump'; to(registers: Registers): number }
  | { readonly is: 'fail' }
  | { readonly is: 'end'; readonly returns: readonly number[] };

interface State {
  readonly at: number;
  readonly registers: Registers;
}

/** The thread as a graph of points. */
export function interpret(text: ThreadText): Thread {
  const code = compile(text);
  const points: Point[] = [];
  const known = new Map<string, Point>();

  function point(state: State): Point {
    const settled = settle(code, state);
    const key = `${settled.at}:${settled.registers.join()}`;
    const old = known.get(key);
    if (old !== undefined) return old;
    const made = make(settled);
    known.set(key, made);
    points.push(made);
    return made;
  }

  function make({ at, registers }: State): Point {
    const id = points.length;
    const here = code[at]!;
    if (here.is !== 'ask') {
      const result = here.is === 'end' ? returned(here.returns, registers) : '';
      return { id, op: undefined, result, failed: here.is === 'fail', look: 'none', next: ended };
    }
    const answers = new Map<number, Point>();
    return {
      id,
      op: here.operation(registers),
      result: '',
      failed: false,
      look: here.look,
      next(answer) {
        let next = answers.get(answer);
        if (next === undefined) {
          next = point(here.goes(answer, registers, at));
          answers.set(answer, next);
        }
        return next;
      },
    };
  }

  point({ at: 0, registers: new Array(REGISTERS + 1).fill(0) });
  return { points };
}

function ended(): never {
  throw new Error('a thread that has ended was moved');
}

function returned(returns: readonly number[], registers: Registers): string {
  if (returns.length === 0) return '';
  const values = returns.map((r) => registers[r]!);
  return values.length === 1 ? String(values[0]) : `[${values.join()}]`;
}

/** Does what needs no shared memory. */
function settle(code: readonly Instruction[], state: State): State {
  let at = state.at;
  for (;;) {
    const here = code[at]!;
    if (here.is !== 'jump') return { at, registers: state.registers };
    at = here.to(state.registers);
  }
}

function compile({ statements, returns }: ThreadText): Instruction[] {
  const code: Instruction[] = [];
  for (const s of statements) add(s, code);
  code.push({ is: 'end', returns });
  return code;
}

function add(s: Statement, code: Instruction[]): void {
  switch (s.do) {
    case 'load':
    case 'plainLoad':
      ask(code, s.do, s.cell, 0, 0, s.into);
      return;
    case 'store':
    case 'plainStore':
      ask(code, s.do, s.cell, s.value, 0, undefined);
      return;
    case 'add':
    case 'sub':
    case 'exchange':
      ask(code, s.do, s.cell, s.value, 0, s.into);
      return;
    case 'compareExchange':
      ask(code, s.do, s.cell, s.expected, s.value, s.into);
      return;
    case 'fence':
    case 'membarrier':
      ask(code, s.do, 0, 0, 0, undefined);
      return;
    case 'notify':
      ask(code, s.do, s.cell, s.count, 0, s.into);
      return;
    case 'wait':
      ask(code, s.do, s.cell, s.value, 0, s.into, (answer) => (answer === OK ? 1 : 0));
      return;
    case 'waitWhile': {
      const start = code.length;
      code.push({
        is: 'ask',
        look: 'none',
        operation: () => operation(s.plain ? 'plainLoad' : 'load', s.cell, 0, 0),
        goes: (answer, registers, at) => ({ at: answer === operand(s.value, registers) ? at + 1 : at + 2, registers }),
      });
      code.push({
        is: 'ask',
        look: 'none',
        operation: (registers) => operation('wait', s.cell, operand(s.value, registers), 0),
        goes: (_answer, registers) => ({ at: start, registers }),
      });
      return;
    }
    case 'spin': {
      const start = code.length;
      const after = start + s.looks.length;
      for (const [index, look] of s.looks.entries()) {
        code.push({
          is: 'ask',
          look: index === 0 ? 'first' : 'later',
          operation: () => operation(look.plain ? 'plainLoad' : 'load', look.cell, 0, 0),
          goes(answer, registers, at) {
            const holds = (answer === operand(look.to, registers)) === (look.is === '===');
            const undecided = holds === (s.join === '&&') && index + 1 < s.looks.length;
            return { at: undecided ? at + 1 : holds ? after : start, registers };
          },
        });
      }
      return;
    }
    case 'spinSame': {
      const start = code.length;
      const kind = s.plain ? 'plainLoad' : 'load';
      code.push({
        is: 'ask',
        look: 'first',
        operation: () => operation(kind, s.cells[0], 0, 0),
        goes: (answer, registers, at) => ({ at: at + 1, registers: put(registers, HIDDEN, answer) }),
      });
      code.push({
        is: 'ask',
        look: 'later',
        operation: () => operation(kind, s.cells[1], 0, 0),
        goes(answer, registers, at) {
          const holds = (registers[HIDDEN] === answer) === (s.is === '===');
          return { at: holds ? at + 1 : start, registers: put(registers, HIDDEN, 0) };
        },
      });
      return;
    }
    case 'if': {
      let otherwise = 0;
      let after = 0;
      const start = code.length;
      code.push({ is: 'jump', to: (registers) => (holds(s.test, registers) ? start + 1 : otherwise) });
      for (const inner of s.yes) add(inner, code);
      code.push({ is: 'jump', to: () => after });
      otherwise = code.length;
      for (const inner of s.no) add(inner, code);
      after = code.length;
      return;
    }
    case 'assert': {
      const start = code.length;
      code.push({ is: 'jump', to: (registers) => (holds(s.test, registers) ? start + 2 : start + 1) });
      code.push({ is: 'fail' });
      return;
    }
  }
}

/** One operation, whose answer goes into a register. */
function ask(
  code: Instruction[],
  kind: Kind,
  at: Cell,
  a: Operand,
  b: Operand,
  into: number | undefined,
  translate: (answer: number) => number = (answer) => answer,
): void {
  code.push({
    is: 'ask',
    look: 'none',
    operation: (registers) => operation(kind, cell(at, registers), operand(a, registers), operand(b, registers)),
    goes: (answer, registers, here) => ({
      at: here + 1,
      registers: into === undefined ? registers : put(registers, into, translate(answer)),
    }),
  });
}

function operation(kind: Kind, at: number, a: number, b: number): Operation {
  return { kind, cell: at, a, b };
}

function operand(value: Operand, registers: Registers): number {
  return typeof value === 'number' ? value : registers[value.reg]! + value.plus;
}

function cell(at: Cell, registers: Registers): number {
  return typeof at === 'number' ? at : registers[at.reg]! & 1;
}

function holds(t: Test, registers: Registers): boolean {
  const left = registers[t.reg]!;
  const right = operand(t.to, registers);
  return t.is === '<' ? left < right : (left === right) === (t.is === '===');
}

function put(registers: Registers, index: number, value: number): Registers {
  const changed = registers.slice();
  changed[index] = value;
  return changed;
}

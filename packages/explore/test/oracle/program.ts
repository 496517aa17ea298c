// The form of generated programs, and how one is printed as JavaScript.

/** A number, or a register plus a number. */
export type Operand = number | { readonly reg: number; readonly plus: number };

/** An element of `m`: a fixed one, or one chosen by the lowest bit of a register. */
export type Cell = number | { readonly reg: number };

export interface Test {
  readonly reg: number;
  readonly is: '===' | '!==' | '<';
  readonly to: Operand;
}

export interface Look {
  readonly cell: number;
  readonly plain: boolean;
  readonly is: '===' | '!==';
  readonly to: Operand;
}

export type Statement =
  | { readonly do: 'load' | 'plainLoad'; readonly cell: Cell; readonly into: number }
  | { readonly do: 'store' | 'plainStore'; readonly cell: Cell; readonly value: Operand }
  | { readonly do: 'add' | 'sub' | 'exchange'; readonly cell: Cell; readonly value: Operand; readonly into: number }
  | {
      readonly do: 'compareExchange';
      readonly cell: Cell;
      readonly expected: Operand;
      readonly value: Operand;
      readonly into: number;
    }
  | { readonly do: 'fence' }
  | { readonly do: 'membarrier' }
  /** The register gets 1 for `ok` and 0 for `not-equal`. */
  | { readonly do: 'wait'; readonly cell: number; readonly value: Operand; readonly into: number }
  /** The loop of every event: look, sleep while it is still so, look again. */
  | { readonly do: 'waitWhile'; readonly cell: number; readonly value: Operand; readonly plain: boolean }
  | { readonly do: 'notify'; readonly cell: number; readonly count: number; readonly into: number }
  /** Until all (`&&`) or any (`||`) of the looks hold; they are taken in order, and no more than needed. */
  | { readonly do: 'spin'; readonly looks: readonly Look[]; readonly join: '&&' | '||' }
  /** Until two elements, read one after the other, are equal or differ. */
  | {
      readonly do: 'spinSame';
      readonly cells: readonly [number, number];
      readonly plain: boolean;
      readonly is: '===' | '!==';
    }
  | { readonly do: 'if'; readonly test: Test; readonly yes: readonly Statement[]; readonly no: readonly Statement[] }
  | { readonly do: 'assert'; readonly test: Test };

export interface ThreadText {
  readonly statements: readonly Statement[];
  /** Registers that are returned: one as itself, several as an array. */
  readonly returns: readonly number[];
}

export interface Program {
  readonly cells: number;
  readonly init: readonly number[];
  readonly threads: readonly ThreadText[];
}

/** Registers per thread. */
export const REGISTERS = 2;

/** The program as the golden file writes programs down: one JavaScript body per thread. */
export function bodies(program: Program): string[] {
  return program.threads.map(body);
}

function body({ statements, returns }: ThreadText): string {
  const code = statements.map(statement);
  const used = new Set<string>(returns.map(reg));
  for (const name of code.join(' ').match(/\br\d\b/g) ?? []) used.add(name);
  const names = [...used].sort();
  const lines = names.length === 0 ? code : [`let ${names.map((name) => `${name} = 0`).join(', ')};`, ...code];
  if (returns.length === 1) lines.push(`return ${reg(returns[0]!)};`);
  else if (returns.length > 1) lines.push(`return [${returns.map(reg).join(', ')}];`);
  return lines.join(' ');
}

function statement(s: Statement): string {
  switch (s.do) {
    case 'load':
      return `${reg(s.into)} = Atomics.load(m, ${cell(s.cell)});`;
    case 'plainLoad':
      return `${reg(s.into)} = m[${cell(s.cell)}];`;
    case 'store':
      return `Atomics.store(m, ${cell(s.cell)}, ${operand(s.value)});`;
    case 'plainStore':
      return `m[${cell(s.cell)}] = ${operand(s.value)};`;
    case 'add':
    case 'sub':
    case 'exchange':
      return `${reg(s.into)} = Atomics.${s.do}(m, ${cell(s.cell)}, ${operand(s.value)});`;
    case 'compareExchange': {
      const operands = `${cell(s.cell)}, ${operand(s.expected)}, ${operand(s.value)}`;
      return `${reg(s.into)} = Atomics.compareExchange(m, ${operands});`;
    }
    case 'fence':
    case 'membarrier':
      return `${s.do}();`;
    case 'wait':
      return `${reg(s.into)} = Atomics.wait(m, ${s.cell}, ${operand(s.value)}) === 'ok' ? 1 : 0;`;
    case 'waitWhile': {
      const value = operand(s.value);
      return `while (${read(s.cell, s.plain)} === ${value}) { Atomics.wait(m, ${s.cell}, ${value}); }`;
    }
    case 'notify':
      return `${reg(s.into)} = Atomics.notify(m, ${s.cell}, ${s.count});`;
    case 'spin': {
      const looks = s.looks.map((look) => `${read(look.cell, look.plain)} ${look.is} ${operand(look.to)}`);
      return `spinUntil(() => ${looks.join(` ${s.join} `)});`;
    }
    case 'spinSame':
      return `spinUntil(() => ${read(s.cells[0], s.plain)} ${s.is} ${read(s.cells[1], s.plain)});`;
    case 'if': {
      const yes = `if (${test(s.test)}) { ${s.yes.map(statement).join(' ')} }`;
      return s.no.length === 0 ? yes : `${yes} else { ${s.no.map(statement).join(' ')} }`;
    }
    case 'assert':
      return `assert(${test(s.test)});`;
  }
}

function reg(index: number): string {
  return `r${index}`;
}

function read(index: number, plain: boolean): string {
  return plain ? `m[${index}]` : `Atomics.load(m, ${index})`;
}

function cell(at: Cell): string {
  return typeof at === 'number' ? String(at) : `${reg(at.reg)} & 1`;
}

function operand(value: Operand): string {
  if (typeof value === 'number') return String(value);
  return value.plus === 0 ? reg(value.reg) : `${reg(value.reg)} + ${value.plus}`;
}

function test(t: Test): string {
  return `${reg(t.reg)} ${t.is} ${operand(t.to)}`;
}

import {
  type Cell,
  type Look,
  type Operand,
  type Program,
  REGISTERS,
  type Statement,
  type Test,
  type ThreadText,
} from './program.ts';
import { Random } from './random.ts';
import { interleavings } from './size.ts';

/** What programs may contain besides Atomics and branches. What is asked for is in every program at least once. */
export interface Contents {
  readonly plain?: boolean;
  readonly waits?: boolean;
  readonly membarrier?: boolean;
  readonly spins?: boolean;
  readonly fences?: boolean;
  /** About how many interleavings there may be, at most, if nobody ever waits for anybody. */
  readonly interleavings?: number;
}

type Kind = Statement['do'];

/** A program of 2 to 4 threads over 1 to 3 elements that hold small numbers: everybody gets in everybody's way. */
export function generate(seed: number, contents: Contents = {}): Program {
  const random = new Random(seed);
  const threads = random.weighted([
    [2, 4],
    [3, 4],
    [4, 2],
  ] as const);
  const cells = random.weighted([
    [1, contents.plain ? 1 : 3],
    [2, 5],
    [3, 2],
  ] as const);
  const init: number[] = [];
  for (let i = 0; i < cells; i++) init.push(random.chance(75) ? 0 : 1 + random.below(2));
  const writer = new Writer(random, threads, init, contents);
  const longest = 8 - threads;
  const lists: Statement[][] = [];
  for (let t = 0; t < threads; t++) {
    const list: Statement[] = [];
    for (let k = 1 + random.below(longest); k > 0; k--) list.push(writer.any());
    lists.push(list);
  }
  const limit = contents.interleavings ?? defaultLimit(contents);
  const asked = writer.asked();
  // What was asked for comes last and is never cut off: each group of statements goes to a random place.
  while (interleavings([...lists, ...asked], contents.plain === true) > limit && lists.some(notEmpty)) shorten(lists);
  place(random, lists, asked);
  return { cells, init, threads: lists.map((statements) => ({ statements, returns: returned(random, statements) })) };
}

/** Waiting, and buffers that follow their threads, leave far fewer interleavings than the estimate says. */
function defaultLimit({ plain, waits, membarrier, spins }: Contents): number {
  return 20_000 * (plain ? 200 : 1) * (membarrier ? 20 : 1) * (waits || spins ? 20 : 1);
}

/** Puts each group into another thread than those before it, as long as there is one, and mostly in one piece. */
function place(random: Random, lists: Statement[][], groups: readonly (readonly Statement[])[]): void {
  let t = random.below(lists.length);
  let used = new Set<number>();
  for (const group of groups) {
    const list = lists[t]!;
    let at = random.below(list.length + 1);
    for (const statement of group) {
      list.splice(at++, 0, statement);
      if (at < list.length && random.chance(15)) at++;
    }
    used.add(t);
    if (used.size === lists.length) used = new Set([t]);
    do t = random.below(lists.length);
    while (used.has(t));
  }
}

function notEmpty(list: readonly Statement[]): boolean {
  return list.length > 0;
}

function shorten(lists: Statement[][]): void {
  let longest = lists[0]!;
  for (const list of lists) if (list.length > longest.length) longest = list;
  longest.pop();
}

function has(groups: readonly (readonly Statement[])[], kind: Kind): boolean {
  return groups.some((group) => group.some((statement) => statement.do === kind));
}

function returned(random: Random, statements: readonly Statement[]): ThreadText['returns'] {
  const text = JSON.stringify(statements);
  const used = [0, 1].filter((r) => text.includes(`"into":${r}`));
  return random.chance(75) ? used : used.slice(0, random.below(2));
}

class Writer {
  readonly #random: Random;
  readonly #threads: number;
  readonly #cells: number;
  readonly #init: readonly number[];
  readonly #contents: Contents;
  readonly #simple: (readonly [Kind, number])[];
  readonly #all: (readonly [Kind, number])[];

  constructor(random: Random, threads: number, init: readonly number[], contents: Contents) {
    this.#random = random;
    this.#threads = threads;
    this.#cells = init.length;
    this.#init = init;
    this.#contents = contents;
    const { plain, waits, membarrier, spins, fences } = contents;
    // With buffers, most operations should leave them alone.
    this.#simple = [
      ['load', 3],
      ['store', plain ? 1 : 3],
      ['add', plain ? 1 : 2],
      ['sub', plain ? 0 : 1],
      ['exchange', plain ? 1 : 2],
      ['compareExchange', plain ? 2 : 4],
      ['plainLoad', plain ? 5 : 0],
      ['plainStore', plain ? 7 : 0],
      ['notify', waits ? 4 : 0],
      ['wait', waits ? 2 : 0],
    ];
    this.#all = [
      ...this.#simple,
      ['if', 4],
      ['fence', fences ? 2 : 0],
      ['membarrier', membarrier ? 2 : 0],
      ['waitWhile', waits ? 1 : 0],
      ['spin', spins ? 3 : 0],
      ['spinSame', spins ? 1 : 0],
    ];
  }

  any(): Statement {
    return this.statement(this.#random.weighted(this.#all));
  }

  /** At least these must be there, each group in a thread. */
  asked(): Statement[][] {
    const { plain, waits, membarrier, spins, fences } = this.#contents;
    const groups: Statement[][] = [];
    if (plain) groups.push(...this.#storeBuffering());
    if (membarrier && this.#threads > 2 && this.#cells > 2 && this.#random.chance(50)) {
      groups.splice(0, 2, ...this.#moments());
    }
    if (membarrier && !has(groups, 'membarrier')) groups.push([this.statement('membarrier')]);
    if (fences && !has(groups, 'fence')) groups.push([this.statement('fence')]);
    if (waits) {
      const sleep = this.statement(this.#random.chance(60) ? 'wait' : 'waitWhile') as Statement & { do: 'wait' };
      const notify = { ...this.statement('notify'), cell: sleep.cell } as Statement;
      groups.push([sleep], this.#random.chance(50) ? [this.#change(sleep.cell), notify] : [notify]);
      if (this.#threads > 2 && this.#random.chance(20)) groups.splice(0, 2, ...this.#sleepInOrder());
    }
    if (spins) {
      const spin = this.statement(this.#random.chance(80) ? 'spin' : 'spinSame');
      groups.push([spin]);
      if (spin.do === 'spin') for (const { cell } of spin.looks) groups.push([this.#change(cell)]);
    }
    return groups;
  }

  /** Two threads that each store, perhaps make sure that it is seen, and look at what the other stored. */
  #storeBuffering(): Statement[][] {
    const [a, b] = this.#cells > 1 ? this.#two() : [0, 0];
    return [this.#storeThenLook(a, b, 50), this.#storeThenLook(b, a, 25)];
  }

  /** Two buffers that may never be empty at the same time, though each is at some time: the moments of a membarrier are apart. */
  #moments(): Statement[][] {
    const into = this.#random.below(REGISTERS);
    return [
      this.#storeThenLook(0, 1, 0),
      this.#storeThenLook(1, 2, 0),
      [{ do: 'store', cell: 2, value: 1 + this.#init[2]! }, { do: 'membarrier' }, { do: 'load', cell: 0, into }],
    ];
  }

  /** If both sleep, it is known who did so first, and who is woken. */
  #sleepInOrder(): Statement[][] {
    const cell = this.#fixed();
    const before = this.#init[cell]!;
    const after = before + 1;
    const into = this.#random.below(REGISTERS);
    return [
      [{ do: 'wait', cell, value: before, into }],
      [
        { do: 'store', cell, value: after },
        { do: 'wait', cell, value: after, into },
      ],
      [{ do: 'notify', cell, count: 1, into }],
    ];
  }

  #storeThenLook(own: number, other: number, ordered: number): Statement[] {
    const { membarrier, fences } = this.#contents;
    const value = this.#random.chance(70) ? 1 + this.#init[own]! : this.#operand();
    const group: Statement[] = [{ do: 'plainStore', cell: own, value }];
    if ((membarrier || fences) && this.#random.chance(ordered)) {
      group.push({ do: membarrier && (!fences || this.#random.chance(60)) ? 'membarrier' : 'fence' });
    }
    const into = this.#random.below(REGISTERS);
    group.push({ do: this.#random.chance(60) ? 'plainLoad' : 'load', cell: other, into });
    return group;
  }

  statement(kind: Kind): Statement {
    const into = this.#random.below(REGISTERS);
    switch (kind) {
      case 'load':
      case 'plainLoad':
        return { do: kind, cell: this.#cell(), into };
      case 'store':
      case 'plainStore':
        return { do: kind, cell: this.#cell(), value: this.#operand() };
      case 'add':
      case 'sub':
        return { do: kind, cell: this.#cell(), value: this.#random.chance(70) ? 1 : this.#operand(), into };
      case 'exchange':
        return { do: kind, cell: this.#cell(), value: this.#operand(), into };
      case 'compareExchange':
        return { do: kind, cell: this.#cell(), expected: this.#operand(), value: this.#operand(), into };
      case 'fence':
      case 'membarrier':
        return { do: kind };
      case 'wait':
        return this.#wait(into);
      case 'waitWhile':
        return { ...this.#wait(into), do: kind, plain: this.#plain() };
      case 'notify':
        return { do: kind, cell: this.#fixed(), count: 1 + this.#random.below(2), into };
      case 'spin':
        return this.#spin();
      case 'spinSame':
        if (this.#cells === 1) return this.#spin();
        return { do: kind, cells: this.#two(), plain: this.#plain(), is: this.#is() };
      case 'if':
        return {
          do: kind,
          test: this.#test(),
          yes: this.#branch(),
          no: this.#random.chance(25) ? this.#branch() : [],
        };
      case 'assert':
        return { do: kind, test: this.#test() };
    }
  }

  /** Mostly for the value the element has at the beginning. */
  #wait(into: number): Statement & { do: 'wait' } {
    const cell = this.#fixed();
    return { do: 'wait', cell, value: this.#random.chance(65) ? this.#init[cell]! : this.#operand(), into };
  }

  /** What may end somebody's waiting. */
  #change(cell: number): Statement {
    const plain = this.#plain();
    return { do: plain ? 'plainStore' : 'store', cell, value: this.#random.chance(70) ? 1 : this.#operand() };
  }

  #spin(): Statement {
    const looks = [this.#look(this.#fixed())];
    if (this.#cells > 1 && this.#random.chance(50)) {
      const [a, b] = this.#two();
      looks[0] = this.#look(a);
      looks.push(this.#look(b));
    }
    return { do: 'spin', looks, join: this.#random.chance(60) ? '&&' : '||' };
  }

  #look(cell: number): Look {
    const is = this.#random.chance(70) ? '!==' : '===';
    const to = is === '!==' && this.#random.chance(80) ? this.#init[cell]! : this.#operand();
    return { cell, plain: this.#plain(), is, to };
  }

  #branch(): Statement[] {
    const branch = [this.statement(this.#random.weighted(this.#simple))];
    if (this.#random.chance(20)) branch.push(this.statement(this.#random.weighted(this.#simple)));
    return branch;
  }

  #test(): Test {
    const reg = this.#random.below(REGISTERS);
    const to = this.#random.chance(80) ? this.#random.below(3) : { reg: 1 - reg, plus: 0 };
    return { reg, is: this.#random.of(['===', '!==', '===', '!==', '<']), to };
  }

  #operand(): Operand {
    if (this.#random.chance(70)) return this.#random.below(3);
    return { reg: this.#random.below(REGISTERS), plus: this.#random.below(2) };
  }

  #cell(): Cell {
    if (this.#cells > 1 && this.#random.chance(10)) return { reg: this.#random.below(REGISTERS) };
    return this.#fixed();
  }

  #fixed(): number {
    return this.#random.below(this.#cells);
  }

  #two(): [number, number] {
    const a = this.#fixed();
    return [a, (a + 1 + this.#random.below(this.#cells - 1)) % this.#cells];
  }

  #is(): '===' | '!==' {
    return this.#random.chance(50) ? '===' : '!==';
  }

  #plain(): boolean {
    return this.#contents.plain === true && this.#random.chance(50);
  }
}

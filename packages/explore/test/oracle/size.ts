import type { Statement } from './program.ts';

/** About how many interleavings these threads have: as if each took its longest way, and nobody ever waited for anybody. */
export function interleavings(threads: readonly (readonly Statement[])[], buffers: boolean): number {
  const others = threads.length - 1;
  const lengths: number[] = [];
  for (const thread of threads) {
    lengths.push(sum(thread, (s) => steps(s, buffers ? others : 0)));
    if (buffers) lengths.push(sum(thread, stores));
  }
  let ways = 1;
  let placed = 0;
  for (const length of lengths) for (let k = 1; k <= length; k++) ways = (ways * ++placed) / k;
  return ways;
}

function sum(statements: readonly Statement[], count: (s: Statement) => number): number {
  return statements.reduce((total, s) => total + count(s), 0);
}

/** Steps of the thread itself. */
function steps(s: Statement, moments: number): number {
  switch (s.do) {
    case 'wait':
      return 2;
    case 'waitWhile':
      return 4;
    case 'spin':
      return s.looks.length;
    case 'spinSame':
      return 2;
    case 'membarrier':
      return 1 + moments;
    case 'if':
      return Math.max(
        sum(s.yes, (inner) => steps(inner, moments)),
        sum(s.no, (inner) => steps(inner, moments)),
      );
    case 'assert':
      return 0;
    default:
      return 1;
  }
}

/** Steps of its store buffer. */
function stores(s: Statement): number {
  if (s.do === 'plainStore') return 1;
  return s.do === 'if' ? Math.max(sum(s.yes, stores), sum(s.no, stores)) : 0;
}

/**
 * points: gives checked code numbered kill points. Before each statement that changes what others see (a store or an exchange in shared
 * words, a lock, a wake-up) it puts `__point(n);`, where a participant of the robot may be told to die. Between two of them nothing
 * changes but what is private to the thread: a death there leaves what one at the next point leaves. So to die at every point is to
 * die between any two instructions.
 *
 * What runs is what shipped: lines stay lines, and nothing but the calls is added. Conditions and steps of loops have points of their
 * own, in every turn; a body without braces gets some.
 */
import { createRequire } from 'node:module';
import type * as Acorn from 'acorn';
import type { AnyNode, CallExpression, Program } from 'acorn';
import { HoldfastError } from '../errors.ts';

/** Where a point stands in the file that was rewritten. */
export interface RawPoint {
  /** From 1. */
  readonly line: number;
  /** From 0. */
  readonly column: number;
}

export interface Rewritten {
  readonly code: string;
  readonly points: readonly RawPoint[];
}

/** Names under which checked code has shared words. An element of something else is private. */
const WORDS = new Set(['words', '#words', 'lines', '#lines', 'field']);

/**
 * Rewrites one module of checked code.
 *
 * @param first   number of its first point
 * @param runtime what it imports `point` from
 */
export function addPoints(source: string, first: number, runtime: string): Rewritten {
  const tree = parse(source);
  const edits = new Edits(first);
  for (const statement of tree.body) visit(statement as AnyNode, edits, true);
  return {
    code: `import { point as __point } from ${JSON.stringify(runtime)}; ${edits.apply(source)}`,
    points: edits.points,
  };
}

function parse(source: string): Program {
  return acorn().parse(source, { ecmaVersion: 'latest', sourceType: 'module', locations: true });
}

let parser: typeof Acorn | undefined;

/** @throws HoldfastError ENOENT when acorn is not installed */
function acorn(): typeof Acorn {
  if (parser !== undefined) return parser;
  const here = createRequire(import.meta.url);
  for (const from of [() => here, () => createRequire(here.resolve('@holdfast/explore/package.json'))]) {
    try {
      parser = from()('acorn') as typeof Acorn;
      return parser;
    } catch {
      // Not to be found from there.
    }
  }
  throw new HoldfastError(
    'ENOENT',
    'the robot reads the sources with acorn, which is not installed: npm install --save-dev acorn',
  );
}

class Edits {
  readonly points: RawPoint[] = [];
  readonly #openers: [offset: number, text: string][] = [];
  readonly #closers: [offset: number, text: string][] = [];
  readonly #first: number;

  constructor(first: number) {
    this.#first = first;
  }

  /** The call of the next point, which stands for what is at `node`. */
  point(node: AnyNode): string {
    const { line, column } = node.loc!.start;
    this.points.push({ line, column });
    return `__point(${this.#first + this.points.length - 1})`;
  }

  open(offset: number, text: string): void {
    this.#openers.push([offset, text]);
  }

  close(offset: number, text: string): void {
    this.#closers.push([offset, text]);
  }

  apply(source: string): string {
    // What ends at an offset ends before what begins there; of several that end, the inner one was noted first.
    const all = [
      ...this.#closers.map((edit) => [...edit, 0] as const),
      ...this.#openers.map((edit) => [...edit, 1] as const),
    ];
    all.sort(([a, , x], [b, , y]) => a - b || x - y);
    let code = '';
    let at = 0;
    for (const [offset, text] of all) {
      code += source.slice(at, offset) + text;
      at = offset;
    }
    return code + source.slice(at);
  }
}

/** @param inList whether a statement may be put before the node */
function visit(node: AnyNode, edits: Edits, inList: boolean): void {
  switch (node.type) {
    case 'BlockStatement':
    case 'StaticBlock':
    case 'Program':
      for (const child of node.body) visit(child as AnyNode, edits, true);
      return;
    case 'SwitchStatement':
      before(node, [node.discriminant], edits, inList, () => {
        for (const { consequent } of node.cases) for (const child of consequent) visit(child, edits, true);
      });
      return;
    case 'IfStatement':
      before(node, [node.test], edits, inList, () => {
        visit(node.consequent, edits, false);
        if (node.alternate != null) visit(node.alternate, edits, false);
      });
      return;
    case 'ForStatement':
      before(node, [node.init], edits, inList, () => {
        for (const part of [node.test, node.update]) if (part != null) wrap(part, edits);
        visit(node.body, edits, false);
      });
      return;
    case 'ForInStatement':
    case 'ForOfStatement':
      before(node, [node.right], edits, inList, () => visit(node.body, edits, false));
      return;
    case 'WhileStatement':
    case 'DoWhileStatement':
      wrap(node.test, edits);
      visit(node.body, edits, false);
      return;
    case 'LabeledStatement':
      visit(node.body, edits, false);
      return;
    case 'TryStatement':
      visit(node.block, edits, true);
      if (node.handler != null) visit(node.handler.body, edits, true);
      if (node.finalizer != null) visit(node.finalizer, edits, true);
      return;
    case 'ExportNamedDeclaration':
      if (node.declaration != null) visit(node.declaration, edits, true);
      return;
    case 'ClassDeclaration':
    case 'FunctionDeclaration':
      functionsIn(node, edits);
      return;
    case 'ReturnStatement':
    case 'ThrowStatement':
    case 'ExpressionStatement':
    case 'VariableDeclaration':
      before(node, [node], edits, inList, () => {});
      return;
    default:
      return;
  }
}

/** Puts a point before the statement if one of its own `parts` changes shared memory. `rest` sees to what is inside it. */
function before(
  node: AnyNode,
  parts: readonly (AnyNode | null | undefined)[],
  edits: Edits,
  inList: boolean,
  rest: () => void,
): void {
  const isChange = parts.some((part) => part != null && changes(part));
  if (isChange) edits.open(node.start, inList ? `${edits.point(node)}; ` : `{ ${edits.point(node)}; `);
  for (const part of parts) if (part != null) functionsIn(part, edits);
  rest();
  if (isChange && !inList) edits.close(node.end, ' }');
}

/** Puts a point before the value of an expression. */
function wrap(node: AnyNode, edits: Edits): void {
  const isChange = changes(node);
  if (isChange) edits.open(node.start, `(${edits.point(node)}, `);
  functionsIn(node, edits);
  if (isChange) edits.close(node.end, ')');
}

/** The functions and classes in an expression, at any depth. */
function functionsIn(node: AnyNode, edits: Edits): void {
  for (const child of [node, ...children(node)]) {
    if (child === node && !isFunction(child)) continue;
    if (!isFunction(child)) {
      if (child.type === 'StaticBlock') visit(child, edits, true);
      else functionsIn(child, edits);
      continue;
    }
    const { body } = child as unknown as { body: AnyNode };
    if (body.type === 'BlockStatement') visit(body, edits, true);
    else wrap(body, edits);
    if (child === node) return;
  }
}

/**
 * Short names for a store, and the calls that change what the kernel keeps for all: locks, wake-ups. Each use of one is a place to die at.
 * And `#held`, the look after a change on which it depends what follows: a place to stand still at, for others to come between.
 */
const CHANGERS = new Set([
  '#held',
  '#set',
  '#setTime',
  '#setText',
  'advance',
  'stamp',
  'stampWords',
  'tryClaim',
  'wake',
  'ring',
]);
const CHANGERS_OF: Record<string, readonly string[]> = {
  memory: ['set'],
  liveness: ['release', 'close'],
  Atomics: ['add', 'and', 'compareExchange', 'exchange', 'notify', 'or', 'store', 'sub', 'xor'],
};
/** Methods of an array that write to it. */
const WRITERS = ['copyWithin', 'fill', 'set'];

function isChangingCall({ callee }: CallExpression): boolean {
  if (CHANGERS.has(nameOf(callee))) return true;
  if (callee.type !== 'MemberExpression') return false;
  const [object, method] = [nameOf(callee.object), nameOf(callee)];
  return (CHANGERS_OF[object] ?? []).includes(method) || (WORDS.has(object) && WRITERS.includes(method));
}

/** Whether the node names an element of shared words. */
function isShared(node: AnyNode): boolean {
  return node.type === 'MemberExpression' && node.computed && WORDS.has(nameOf(node.object));
}

/** Whether evaluating the node changes shared memory, functions that are only made there left out. */
function changes(node: AnyNode): boolean {
  if (isFunction(node)) return false;
  if (node.type === 'CallExpression' && isChangingCall(node)) return true;
  if (node.type === 'AssignmentExpression' && isShared(node.left)) return true;
  if (node.type === 'UpdateExpression' && isShared(node.argument)) return true;
  return children(node).some(changes);
}

/** The last name of `words`, `this.words`, `this.#words`. */
function nameOf(node: AnyNode): string {
  if (node.type === 'Identifier') return node.name;
  if (node.type !== 'MemberExpression' || node.computed) return '';
  if (node.property.type === 'PrivateIdentifier') return `#${node.property.name}`;
  return node.property.type === 'Identifier' ? node.property.name : '';
}

function isFunction({ type }: AnyNode): boolean {
  return type === 'FunctionDeclaration' || type === 'FunctionExpression' || type === 'ArrowFunctionExpression';
}

function children(node: AnyNode): AnyNode[] {
  const isNode = (value: unknown): value is AnyNode =>
    typeof value === 'object' && value !== null && typeof (value as AnyNode).type === 'string';
  return Object.values(node).flatMap((value) =>
    Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : [],
  );
}

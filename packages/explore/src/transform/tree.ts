/**
 * tree: small questions about acorn's syntax tree.
 */
import type { AnyNode } from 'acorn';
import { PAUSE_HINTS } from '../hooks/names.ts';

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && typeof (value as AnyNode).type === 'string';
}

/** The children of a node in the order of the source; of `{ a }` only the value, as key and value are one text. */
export function childrenOf(node: AnyNode): AnyNode[] {
  const children: AnyNode[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (key === 'key' && 'shorthand' in node && node.shorthand) continue;
    if (Array.isArray(value)) children.push(...value.filter(isNode));
    else if (isNode(value)) children.push(value);
  }
  return children.sort((one, other) => one.start - other.start);
}

export function isFunction(node: AnyNode): boolean {
  return (
    node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression'
  );
}

/** Visits `node` and all below it that run with it: not the insides of functions and classes. `false` stops going deeper. */
export function walk(node: AnyNode, visit: (node: AnyNode) => boolean | undefined): void {
  if (visit(node) === false) return;
  for (const child of childrenOf(node)) walk(child, visit);
}

/** Whether a list of statements begins with the directive that makes code strict. */
export function isUseStrict(body: readonly AnyNode[]): boolean {
  for (const statement of body) {
    if (statement.type !== 'ExpressionStatement' || typeof statement.directive !== 'string') return false;
    if (statement.directive === 'use strict') return true;
  }
  return false;
}

const LOOPS = new Set(['ForStatement', 'ForInStatement', 'ForOfStatement', 'WhileStatement', 'DoWhileStatement']);

/** Whether the statement is a loop, labelled or not, that says in its body or condition that it only looks. */
export function isSpinLoop(statement: AnyNode): boolean {
  let loop = statement;
  while (loop.type === 'LabeledStatement') loop = loop.body;
  if (!LOOPS.has(loop.type)) return false;
  let found = false;
  walk(loop, (node) => {
    if (isFunction(node) || node.type === 'ClassBody') return false;
    if (node.type === 'CallExpression') found ||= isPauseHint(node.callee, node.arguments.length);
    return !found;
  });
  return found;
}

function isPauseHint(callee: AnyNode, argumentCount: number): boolean {
  if (callee.type === 'Identifier') return PAUSE_HINTS.has(callee.name);
  if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier' || callee.computed) return false;
  if (!PAUSE_HINTS.has(callee.property.name)) return false;
  // Any `x.pause()` may be the simulation's, under whatever name; a stream's is marked for nothing, which harms nobody.
  return argumentCount === 0 || (callee.object.type === 'Identifier' && callee.object.name === 'Atomics');
}

/** Whether an element with this key is surely no element of a typed array: `a['name']`, `a[Symbol.iterator]`. */
export function isPlainKey(key: AnyNode): boolean {
  if (key.type === 'MemberExpression') return key.object.type === 'Identifier' && key.object.name === 'Symbol';
  const name = fixedName(key);
  return name !== undefined && !/^(0|[1-9]\d*)$/.test(name);
}

/** The text of a key that is a literal string. */
export function fixedName(key: AnyNode): string | undefined {
  if (key.type === 'Literal' && typeof key.value === 'string') return key.value;
  if (key.type !== 'TemplateLiteral' || key.expressions.length > 0) return undefined;
  return key.quasis[0]?.value.cooked ?? undefined;
}

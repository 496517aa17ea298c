/**
 * bindings: which top-level names of a module may hold state that changes.
 *
 * `let` and `var` always do. A `const` or class does when what it holds may change: not a primitive or a function by its looks,
 * and not a table that the module itself only ever reads and does not give away. What remains is looked at when it is saved
 * (`hooks/state.ts`); this pass only keeps obvious constants out of every restore.
 */
import type { AnyNode, Program } from 'acorn';
import { childrenOf, isFunction } from './tree.ts';

export interface Binding {
  readonly name: string;
  /** Where it is declared. */
  readonly offset: number;
  /** Whether its value can be put back by an assignment. */
  readonly isVariable: boolean;
}

/** Calls on a table that leave it as it is and return nothing that could be changed through it, as long as it holds primitives. */
const LOOKS = new Set([
  'has',
  'get',
  'includes',
  'indexOf',
  'lastIndexOf',
  'join',
  'at',
  'slice',
  'keys',
  'values',
  'entries',
]);

/** The top-level bindings of a module whose state has to be saved. */
export function mutableBindings(program: Program): Binding[] {
  const found = new Map<string, Binding>();
  const constants = new Map<string, AnyNode>();
  const exported = new Set<string>();
  const add = (name: string, offset: number, isVariable: boolean) => found.set(name, { name, offset, isVariable });
  for (const statement of program.body) {
    let declaration: AnyNode = statement;
    if (statement.type === 'ExportNamedDeclaration') {
      for (const { local } of statement.specifiers) if (local.type === 'Identifier') exported.add(local.name);
      if (statement.declaration != null) declaration = statement.declaration;
    } else if (statement.type === 'ExportDefaultDeclaration') {
      declaration = statement.declaration;
      if (declaration.type === 'Identifier') exported.add(declaration.name);
    }
    if (declaration.type === 'ClassDeclaration') {
      if (declaration.id != null) add(declaration.id.name, declaration.start, false);
    } else if (declaration.type === 'VariableDeclaration' && declaration.kind !== 'var') {
      for (const { id, init } of declaration.declarations) {
        for (const { name, start } of namesOf(id)) {
          if (declaration.kind === 'let') add(name, start, true);
          else if (declaration.kind === 'const' && mayHoldState(init)) {
            add(name, start, false);
            if (isTable(init) && declaration === statement) constants.set(name, id);
          }
        }
      }
    }
  }
  for (const { name, start } of variables(program)) if (!found.has(name)) add(name, start, true);
  for (const name of exported) constants.delete(name);
  const kept = changed(program, constants);
  return [...found.values()].filter(({ name }) => !constants.has(name) || kept.has(name));
}

/** Names that a pattern declares. */
function namesOf(pattern: AnyNode): { name: string; start: number }[] {
  if (pattern.type === 'Identifier') return [{ name: pattern.name, start: pattern.start }];
  if (pattern.type === 'Property') return namesOf(pattern.value);
  if (pattern.type === 'AssignmentPattern') return namesOf(pattern.left);
  if (pattern.type === 'ObjectPattern' || pattern.type === 'ArrayPattern' || pattern.type === 'RestElement') {
    return childrenOf(pattern).flatMap(namesOf);
  }
  return [];
}

/** `var` belongs to the module wherever it stands outside functions. */
function variables(node: AnyNode): { name: string; start: number }[] {
  if (isFunction(node) || node.type === 'ClassBody') return [];
  const own = node.type === 'VariableDeclaration' && node.kind === 'var' ? node.declarations : [];
  return [...own.flatMap(({ id }) => namesOf(id)), ...childrenOf(node).flatMap(variables)];
}

/** Whether the value of a constant can hold anything that changes, by the looks of how it is made. */
function mayHoldState(init: AnyNode | null | undefined): boolean {
  if (init == null || isFunction(init)) return false;
  switch (init.type) {
    case 'Literal':
      return 'regex' in init && init.regex != null && /[gy]/.test(init.regex.flags);
    case 'TemplateLiteral':
    case 'BinaryExpression':
    case 'UnaryExpression':
    case 'UpdateExpression':
      return false;
    case 'CallExpression':
      // Modules belong to themselves.
      return !(
        init.callee.type === 'Identifier' &&
        ['require', 'Symbol', 'BigInt', 'Number', 'String'].includes(init.callee.name)
      );
    case 'AwaitExpression':
      return init.argument.type !== 'ImportExpression';
    default:
      return true;
  }
}

/** Whether the constant is a collection of primitives, as far as its initializer shows. */
function isTable(init: AnyNode | null | undefined): boolean {
  if (init == null) return false;
  switch (init.type) {
    case 'Literal':
      return !('regex' in init && init.regex != null);
    case 'TemplateLiteral':
    case 'BinaryExpression':
    case 'UnaryExpression':
    case 'MemberExpression':
      // A member is a constant of another table in nearly all code; if it is an object, it is that table's to save.
      return true;
    case 'ParenthesizedExpression':
      return isTable(init.expression);
    case 'ArrayExpression':
      return init.elements.every((element) => element === null || isTable(element));
    case 'ObjectExpression':
      return init.properties.every((property) => property.type === 'Property' && isTable(property.value));
    case 'NewExpression':
      return (
        init.callee.type === 'Identifier' &&
        (init.callee.name === 'Set' || init.callee.name === 'Map') &&
        init.arguments.every((argument) => argument.type !== 'SpreadElement' && isTable(argument))
      );
    case 'CallExpression':
      return (
        init.callee.type === 'MemberExpression' &&
        init.callee.object.type === 'Identifier' &&
        init.callee.object.name === 'Object' &&
        init.arguments.every((argument) => argument.type !== 'SpreadElement' && isTable(argument))
      );
    default:
      return false;
  }
}

/** Those of the tables that are used in any way but being read. A local variable of the same name counts as a use. */
function changed(program: Program, tables: ReadonlyMap<string, AnyNode>): Set<string> {
  const uses = new Set<string>();
  if (tables.size === 0) return uses;
  const look = (node: AnyNode, parent: AnyNode | undefined, grand: AnyNode | undefined): void => {
    if (node.type === 'Identifier' && tables.has(node.name) && tables.get(node.name) !== node) {
      if (!isRead(node, parent, grand)) uses.add(node.name);
    }
    for (const child of childrenOf(node)) look(child, node, parent);
  };
  look(program, undefined, undefined);
  return uses;
}

function isRead(node: AnyNode, parent: AnyNode | undefined, grand: AnyNode | undefined): boolean {
  switch (parent?.type) {
    case 'MemberExpression':
      if (parent.object !== node) return !parent.computed;
      switch (grand?.type) {
        case 'AssignmentExpression':
          return grand.right === parent;
        case 'CallExpression':
          if (grand.callee !== parent) return true;
          return parent.property.type === 'Identifier' && !parent.computed && LOOKS.has(parent.property.name);
        case 'UpdateExpression':
        case 'MemberExpression':
        case 'ArrayPattern':
        case 'ForInStatement':
        case 'ForOfStatement':
        case 'AssignmentPattern':
        case 'Property':
        case 'RestElement':
          return grand.type === 'MemberExpression' && grand.property === parent;
        case 'UnaryExpression':
          return grand.operator !== 'delete';
        default:
          return true;
      }
    case 'Property':
      return parent.key === node && parent.value !== node;
    case 'MethodDefinition':
    case 'PropertyDefinition':
      return parent.key === node && !parent.computed;
    case 'SpreadElement':
    case 'BinaryExpression':
    case 'TemplateLiteral':
      return true;
    case 'UnaryExpression':
      return true;
    case 'ForOfStatement':
    case 'ForInStatement':
      return parent.right === node;
    default:
      return false;
  }
}

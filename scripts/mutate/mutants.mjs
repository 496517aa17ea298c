// The mutants of one compiled file of checked code: one atomic operation removed, two neighbouring ones swapped, or one atomic
// access turned plain. A mutant is the whole text of the file with one change.
import { parse } from 'acorn';

/** Arrays of shared words, by the names that checked code gives them: their plain elements are shared accesses too. */
const SHARED = /^#?(words|lines|head)$/;
const UPDATES = { add: '+', sub: '-', and: '&', or: '|', xor: '^' };

/**
 * @param {string} code a compiled module
 * @returns {{ kind: 'remove' | 'swap' | 'plain', line: number, what: string, code: string }[]}
 */
export function mutantsOf(code) {
  const program = parse(code, { ecmaVersion: 'latest', sourceType: 'module', locations: true });
  const mutants = [];
  const text = (node) => code.slice(node.start, node.end);
  const add = (kind, node, what, edits) => {
    let changed = code;
    for (const [from, to, put] of [...edits].sort((a, b) => b[0] - a[0])) {
      changed = changed.slice(0, from) + put + changed.slice(to);
    }
    mutants.push({ kind, line: node.loc.start.line, what: what.replace(/\s+/g, ' '), code: changed });
  };
  const replace = (kind, node, put) => add(kind, node, `${text(node)}  ⇒  ${put}`, [[node.start, node.end, put]]);

  walk(program, [], (node, parents) => {
    const parent = parents.at(-1);
    const isAlone = parent?.type === 'ExpressionStatement';
    const operation = atomicName(node);
    if (operation !== undefined) {
      const [words, index, a, b] = node.arguments.map(text);
      if (isAlone) replace('remove', node, 'void 0');
      else if (operation === 'compareExchange') replace('remove', node, `(${a})`);
      else if (operation in UPDATES || operation === 'exchange')
        replace('remove', node, `Atomics.load(${words}, ${index})`);
      else if (operation === 'notify') replace('remove', node, '0');
      else if (operation === 'wait') replace('remove', node, "'ok'");
      if (operation === 'load') replace('plain', node, `${words}[${index}]`);
      else if (operation === 'store') replace('plain', node, `(${words}[${index}] = ${a})`);
      else if (operation === 'exchange') {
        replace('plain', node, `((o, i, x) => { const v = o[i]; o[i] = x; return v; })(${words}, ${index}, ${a})`);
      } else if (operation in UPDATES) {
        const change = `o[i] = v ${UPDATES[operation]} x`;
        replace('plain', node, `((o, i, x) => { const v = o[i]; ${change}; return v; })(${words}, ${index}, ${a})`);
      } else if (operation === 'compareExchange') {
        const change = 'if (v === x) o[i] = y';
        replace(
          'plain',
          node,
          `((o, i, x, y) => { const v = o[i]; ${change}; return v; })(${words}, ${index}, ${a}, ${b})`,
        );
      }
    } else if (isAlone && (isNamedCall(node, 'wake') || isBarrier(node) || isPlainStore(node))) {
      replace('remove', node, 'void 0');
    } else if (node.type === 'ChainExpression' && isAlone && isBarrier(node.expression)) {
      replace('remove', node, 'void 0');
    }
    if (Array.isArray(node.body)) {
      for (let i = 0; i + 1 < node.body.length; i++) {
        const [first, second] = [node.body[i], node.body[i + 1]];
        if (!touches(first) || !touches(second) || !canSwap(first, second)) continue;
        add('swap', first, `${text(first)}  ⇄  ${text(second)}`, [
          [first.start, first.end, text(second)],
          [second.start, second.end, text(first)],
        ]);
      }
    }
  });
  return mutants;

  /** Whether one statement makes a shared access itself. */
  function touches(statement) {
    const part = statement.type === 'IfStatement' ? statement.test : statement;
    if (!['ExpressionStatement', 'VariableDeclaration', 'IfStatement', 'ReturnStatement'].includes(statement.type))
      return false;
    let found = false;
    walk(part, [], (node) => {
      if (atomicName(node) !== undefined || isNamedCall(node, 'wake') || isBarrier(node) || isPlainAccess(node))
        found = true;
    });
    return found;
  }

  /** Whether the second can stand before the first: it uses nothing that the first declares, and the first does not return. */
  function canSwap(first, second) {
    if (first.type === 'ReturnStatement' || second.type === 'ReturnStatement') return false;
    if (first.type !== 'VariableDeclaration') return true;
    const names = first.declarations.map(({ id }) => text(id));
    let uses = false;
    walk(second, [], (node) => {
      if (node.type === 'Identifier' && names.includes(node.name)) uses = true;
    });
    return !uses;
  }
}

function atomicName(node) {
  const isAtomic =
    node.type === 'CallExpression' && node.callee.type === 'MemberExpression' && node.callee.object.name === 'Atomics';
  return isAtomic ? node.callee.property.name : undefined;
}

const isNamedCall = (node, name) => node.type === 'CallExpression' && node.callee.name === name;

function isBarrier(node) {
  if (node.type !== 'CallExpression') return false;
  const { callee } = node;
  return (callee.name ?? callee.property?.name) === 'barrier';
}

const isPlainStore = (node) => node.type === 'AssignmentExpression' && isPlainAccess(node.left);

function isPlainAccess(node) {
  if (node.type !== 'MemberExpression' || !node.computed) return false;
  return SHARED.test(node.object.name ?? node.object.property?.name ?? '');
}

function walk(node, parents, visit) {
  visit(node, parents);
  const below = [...parents, node];
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (child !== null && typeof child === 'object' && typeof child.type === 'string') walk(child, below, visit);
    }
  }
}

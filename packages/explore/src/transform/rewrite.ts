/**
 * rewrite: element accesses, and calls of methods that touch ranges, become calls of the runtime (`hooks/plain.ts`).
 *
 *   a[i]                         get(a, i)
 *   a[i] = v                     set(a, i, v)
 *   a[i] += v, a[i]++, [a[i]] =  ref(a, i).v += v, ...     `v` is an accessor, so every form of assignment keeps its meaning
 *   a.fill(x), a[name](x)        on(a).fill(x), dyn(a)[name](x)
 *   a?.b[i]                      ((t = a) == null ? void 0 : get(t.b, i))
 *   for (x of a), [x] = a        each(a): elements one by one
 *   [...a], new Uint8Array(a)    all(a): one access of the range
 *   a loop that only looks       loop(); before it
 *   class { #p }                 a static block that lets module state be saved (`hooks/state.ts`)
 *
 * Functions, calls and statements stay as they are, and everything is evaluated in the order and as often as before.
 */
import type { AnyNode } from 'acorn';
import { COPYING_CONSTRUCTORS } from '../hooks/names.ts';
import { type Chain, chainOf, type Link, type Role } from './chain.ts';
import { childrenOf, isFunction, isSpinLoop, isUseStrict } from './tree.ts';
import type { Writer } from './writer.ts';

type NodeOf<Type extends AnyNode['type']> = Extract<AnyNode, { type: Type }>;

export interface RewriteNames {
  /** The variable that holds the runtime. */
  readonly hooks: string;
  /** A variable of the module, for split chains. */
  readonly temp: string;
}

/** A form that cannot be treated, with the place and what to write instead. */
export class UntreatableForm extends Error {
  override name = 'UntreatableForm';
}

export class Rewriter {
  readonly #writer: Writer;
  /** Where tokens start. */
  readonly #tokens: readonly number[];
  readonly #names: RewriteNames;
  readonly #where: (offset: number) => string;
  #strict: boolean;
  /** Where the expression statement starts that is being written. */
  #statement = -1;
  /** Whether `temp` is needed. */
  usesTemp = false;

  constructor(
    writer: Writer,
    tokens: readonly number[],
    names: RewriteNames,
    isStrict: boolean,
    where: (offset: number) => string,
  ) {
    this.#writer = writer;
    this.#tokens = tokens;
    this.#names = names;
    this.#strict = isStrict;
    this.#where = where;
  }

  /** Writes `node` and everything in the source before it that was not yet written. */
  write(node: AnyNode, parent: AnyNode | undefined, role: Role = 'value'): void {
    const writer = this.#writer;
    writer.copy(node.start);
    if (parent !== undefined && parent.type !== 'LabeledStatement' && isSpinLoop(node)) {
      const isListed = ['Program', 'BlockStatement', 'StaticBlock', 'SwitchCase'].includes(parent.type);
      writer.put(`${isListed ? '' : '{'}${this.#names.hooks}.loop();`);
      this.#node(node, role);
      if (!isListed) writer.put('}');
    } else this.#node(node, role);
    writer.copy(node.end);
  }

  #node(node: AnyNode, role: Role): void {
    const isStrict = this.#strict;
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
      case 'ExportSpecifier':
      case 'MetaProperty':
        return;
      case 'MemberExpression':
      case 'CallExpression':
      case 'TaggedTemplateExpression':
      case 'ChainExpression':
        this.#chain(node, chainOf(node, role), role);
        return;
      case 'ParenthesizedExpression':
        // `(a[i])(x)` keeps its `this`, and `(a[i]) = v` is an assignment: parentheses pass the role on.
        this.write(node.expression, node, role === 'set' ? 'target' : role);
        return;
      case 'NewExpression':
        this.#new(node);
        return;
      case 'AssignmentExpression':
        this.#assignment(node);
        return;
      case 'UpdateExpression':
        this.write(node.argument, node, 'target');
        return;
      case 'UnaryExpression':
        if (node.operator === 'delete') this.#delete(node);
        else this.write(node.argument, node);
        return;
      case 'ArrayPattern':
        for (const element of node.elements) if (element !== null) this.write(element, node, 'target');
        return;
      case 'AssignmentPattern':
        this.write(node.left, node, 'target');
        this.write(node.right, node);
        return;
      case 'RestElement':
        this.write(node.argument, node, 'target');
        return;
      case 'ObjectPattern':
        for (const property of node.properties) {
          if (property.type === 'RestElement') this.write(property, node);
          else {
            if (property.computed) this.write(property.key, property);
            this.write(property.value, property, 'target');
          }
        }
        return;
      case 'ForInStatement':
      case 'ForOfStatement':
        this.write(node.left, node, 'target');
        if (node.type === 'ForOfStatement' && !node.await) this.#call('each', node.right, node);
        else this.write(node.right, node);
        this.write(node.body, node);
        return;
      case 'VariableDeclarator':
        this.write(node.id, node);
        if (node.init == null) return;
        if (node.id.type === 'ArrayPattern') this.#call('each', node.init, node);
        else this.write(node.init, node);
        return;
      case 'ExpressionStatement':
        this.#expressionStatement(node);
        return;
      case 'ArrayExpression':
        for (const element of node.elements) if (element !== null) this.#argument(element, node);
        return;
      case 'ObjectExpression':
        for (const property of node.properties) {
          if (property.type === 'SpreadElement') this.#argument(property, node);
          else this.write(property, node);
        }
        return;
      case 'YieldExpression':
        if (node.argument == null) return;
        if (node.delegate) this.#call('each', node.argument, node);
        else this.write(node.argument, node);
        return;
      case 'ClassBody':
        this.#classBody(node);
        return;
    }
    if (isFunction(node)) {
      const body = (node as NodeOf<'FunctionExpression'>).body as AnyNode;
      if (body.type === 'BlockStatement' && isUseStrict(body.body)) this.#strict = true;
    }
    if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') this.#strict = true;
    for (const child of childrenOf(node)) this.write(child, node);
    this.#strict = isStrict;
  }

  /** `name(node)`. */
  #call(name: string, node: AnyNode, parent: AnyNode): void {
    // What an array literal or a string gives is no view.
    if (node.type === 'ArrayExpression' || node.type === 'Literal' || node.type === 'TemplateLiteral') {
      this.write(node, parent);
      return;
    }
    const writer = this.#writer;
    writer.copy(node.start);
    writer.put(`${this.#names.hooks}.${name}(`);
    this.write(node, parent);
    writer.put(')');
  }

  /** An element of an array or object literal, or an argument of a call. */
  #argument(node: AnyNode, parent: AnyNode): void {
    if (node.type !== 'SpreadElement') this.write(node, parent);
    else this.#call('all', node.argument, node);
  }

  #expressionStatement(node: NodeOf<'ExpressionStatement'>): void {
    const { expression } = node;
    this.#statement = node.start;
    // The value of the assignment is the right side itself; nobody uses it here, so it may be replaced.
    if (expression.type === 'AssignmentExpression' && expression.left.type === 'ArrayPattern') {
      this.write(expression.left, expression);
      this.#call('each', expression.right, expression);
    } else this.write(expression, node);
  }

  #assignment(node: NodeOf<'AssignmentExpression'>): void {
    const writer = this.#writer;
    const { left, right, operator } = node;
    if (operator !== '=' || left.type !== 'MemberExpression') {
      this.write(left, node, 'target');
      this.write(right, node);
      return;
    }
    const chain = chainOf(left, 'set');
    this.#chain(left, chain, 'set');
    if (chain.links[chain.links.length - 1]?.wrap === 'set') {
      // Here the bracket has just been left out: what follows is `= v`, with comments before it perhaps.
      const sign = this.#tokenFrom(left.end);
      writer.copy(sign);
      writer.skip(sign + 1);
      writer.put(',', sign);
      this.write(right, node);
      writer.put(')');
    } else {
      writer.copy(left.end);
      this.write(right, node);
    }
  }

  #new(node: NodeOf<'NewExpression'>): void {
    const writer = this.#writer;
    const { callee } = node;
    writer.copy(callee.start);
    // `new get(a, i)(x)` would call `get` as the constructor.
    const isWrapped = chainOf(callee, 'value').wrapped;
    if (isWrapped) writer.put('(');
    this.write(callee, node);
    if (isWrapped) writer.put(')');
    const copies = callee.type === 'Identifier' && COPYING_CONSTRUCTORS.has(callee.name) && node.arguments.length === 1;
    for (const argument of node.arguments) {
      if (copies && argument.type !== 'SpreadElement') this.#call('all', argument, node);
      else this.#argument(argument, node);
    }
  }

  #delete(node: NodeOf<'UnaryExpression'>): void {
    const { argument } = node;
    let inner = argument as AnyNode;
    while (inner.type === 'ParenthesizedExpression') inner = inner.expression;
    const chain = chainOf(inner, 'delete');
    if (!chain.split) {
      this.write(argument, node, 'delete');
      return;
    }
    if (inner !== argument) {
      throw new UntreatableForm(
        `${this.#where(node.start)}: deleting a parenthesized optional chain that reads an element; leave the parentheses out`,
      );
    }
    // The `delete` moves into the conditional; parentheses, as a line may end after it.
    this.#writer.put(this.#parenthesis(node));
    this.#writer.skip(argument.start);
    this.#chain(argument, chain, 'delete');
    this.#writer.put(')');
  }

  #classBody(node: NodeOf<'ClassBody'>): void {
    const fields = { own: [] as string[], static: [] as string[] };
    for (const member of node.body) {
      if (member.type !== 'PropertyDefinition' || member.key.type !== 'PrivateIdentifier') continue;
      fields[member.static ? 'static' : 'own'].push(`#${member.key.name}`);
    }
    const blocks = [this.#hidden('this.prototype', fields.own), this.#hidden('this', fields.static)].join('');
    if (blocks !== '') {
      this.#writer.copy(node.start + 1);
      this.#writer.put(`static{${blocks}}`, node.start);
    }
    for (const member of node.body) this.write(member, node);
  }

  /** Tells the runtime how to read and put back private fields. */
  #hidden(owner: string, fields: readonly string[]): string {
    if (fields.length === 0) return '';
    const read = `o=>${fields[0]} in o?[${fields.map((field) => `o.${field}`).join()}]:void 0`;
    const write = `(o,s)=>{${fields.map((field, index) => `o.${field}=s[${index}];`).join('')}}`;
    return `${this.#names.hooks}.hidden(${owner},${read},${write});`;
  }

  #chain(node: AnyNode, chain: Chain, role: Role): void {
    const { head, links } = chain;
    const writer = this.#writer;
    const { temp } = this.#names;
    if (!chain.split) {
      this.#open(links, 0, links.length);
      this.write(
        head,
        node,
        role === 'callee' || links[0]?.kind === 'call' || links[0]?.kind === 'tag' ? calleeRole(head) : 'value',
      );
      for (const link of links) this.#link(link, false);
      return;
    }
    this.usesTemp = true;
    const none = role === 'delete' ? 'true' : 'void 0';
    const starts = links.flatMap((link, index) => (link.optional ? [index] : []));
    let from = 0;
    let isStart = true;
    writer.put(this.#parenthesis(node));
    for (const to of [...starts, links.length]) {
      const isEnd = to === links.length;
      const last = links[to - 1];
      // A method keeps its `this` through the variable: the link is written after the object it belongs to.
      const binds = last?.kind === 'member' || last?.kind === 'element';
      const isBound = to > from && binds && (isEnd ? role === 'callee' : links[to]?.kind === 'call');
      const deletes = isEnd && role === 'delete';
      writer.put(`${deletes ? 'delete ' : ''}${isEnd ? '' : `(${temp} = `}`);
      // `super` is no value; what it reads is called on `this`.
      const isSuper = isBound && isStart && to === 1 && head.type === 'Super';
      if (isBound) writer.put(`${this.#names.hooks}.bound(${isSuper ? 'this, ' : `${temp} = `}`);
      this.#open(links, from, to);
      if (isStart) this.write(head, node, links[0]?.kind === 'call' ? calleeRole(head) : 'value');
      else writer.put(temp);
      for (let index = from; index < to; index++) {
        this.#link(links[index] as Link, index === from && !isStart, isBound && !isSuper && index === to - 1);
      }
      if (isBound) writer.put(')');
      if (isEnd) break;
      const sign = this.#tokenFrom(writer.cursor);
      writer.copy(sign);
      writer.skip(sign + 2);
      writer.put(`) == null ? ${none} : `, sign);
      from = to;
      isStart = false;
    }
    writer.put(')');
  }

  /** Opens what begins with `node`. At the start of a statement a bare `(` would call what the line before it ends with. */
  #parenthesis(node: AnyNode): string {
    return node.start === this.#statement ? 'void 0, (' : '(';
  }

  /** The opening halves of all wraps of links `from` .. `to`, the outermost first. */
  #open(links: readonly Link[], from: number, to: number): void {
    let text = '';
    for (let index = to - 1; index >= from; index--) {
      const wrap = links[index]?.wrap;
      if (wrap === undefined) continue;
      const name = this.#strict || (wrap !== 'set' && wrap !== 'ref') ? wrap : `sloppy.${wrap}`;
      text += `${this.#names.hooks}.${name}(`;
    }
    if (text !== '') this.#writer.put(text);
  }

  /**
   * One link, with the closing half of its wrap. The cursor is at the end of the link before.
   *
   * @param isFirst whether it follows the variable of a split chain, its own `?.` already left out
   * @param isBound whether it is read from the variable, for `bound`
   */
  #link(link: Link, isFirst: boolean, isBound = false): void {
    const writer = this.#writer;
    const { node, wrap } = link;
    const { end } = node;
    if (wrap === 'on' || wrap === 'dyn') writer.put(')');
    if (isBound) writer.put(`, ${this.#names.temp}`);
    if (link.kind === 'member') {
      if (isFirst) writer.put('.');
      writer.copy(end);
    } else if (link.kind !== 'element') {
      for (const part of link.parts) this.#argument(part, node);
      writer.copy(end);
    } else {
      const key = link.parts[0] as AnyNode;
      if (wrap !== 'get' && wrap !== 'set' && wrap !== 'ref') {
        this.write(key, node);
        writer.copy(end);
        return;
      }
      const bracket = this.#tokenFrom(writer.cursor);
      const isList = key.type === 'SequenceExpression';
      writer.copy(bracket);
      writer.skip(bracket + 1);
      writer.put(isList ? ', (' : ', ', bracket);
      this.write(key, node);
      if (isList) writer.put(')');
      writer.copy(end - 1);
      writer.skip(end);
      if (wrap === 'get') writer.put(')', end - 1);
      else if (wrap === 'ref') writer.put(').v', end - 1);
    }
  }

  /** Start of the first token at or after `offset`. */
  #tokenFrom(offset: number): number {
    let low = 0;
    let high = this.#tokens.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#tokens[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    return this.#tokens[low] as number;
  }
}

/** A called expression in parentheses, `(a[i])(x)`, still gives its object as `this`. */
function calleeRole(head: AnyNode): Role {
  return head.type === 'ParenthesizedExpression' ? 'callee' : 'value';
}

/**
 * chain: `head.a[i]?.b(x)` taken apart into its head and links, and what has to be put around them.
 *
 * A link is *wrapped* when a call of the runtime takes the place of the text from the start of the chain up to it. That text may
 * not hold a `?.`, since the call would then run although the chain has ended. Such chains are split at each `?.` into a
 * conditional with the same meaning: `a?.b[i]` is `((t = a) == null ? void 0 : get(t.b, i))`. The variable is read right after it
 * was set, with nothing in between, so one per module is enough even for generators and recursion.
 */
import type { AnyNode } from 'acorn';
import { METHODS } from '../hooks/names.ts';
import { fixedName, isPlainKey } from './tree.ts';

/** What becomes of the expression: read, called, written through, assigned to (`set` in one call), or deleted. */
export type Role = 'value' | 'callee' | 'target' | 'set' | 'delete';

/** The runtime function that is put around: see `hooks/plain.ts`. */
export type Wrap = 'get' | 'set' | 'ref' | 'on' | 'dyn';

export interface Link {
  readonly kind: 'member' | 'element' | 'call' | 'tag';
  readonly node: AnyNode;
  readonly optional: boolean;
  /** Arguments, the key of an element, or the template. */
  readonly parts: readonly AnyNode[];
  wrap: Wrap | undefined;
}

export interface Chain {
  readonly head: AnyNode;
  readonly links: readonly Link[];
  /** Whether anything has to be put around a link. */
  readonly wrapped: boolean;
  /** Whether the chain has to become a conditional. */
  readonly split: boolean;
}

/** Takes the chain that ends with `node` apart. */
export function chainOf(node: AnyNode, role: Role): Chain {
  const links: Link[] = [];
  let head = node.type === 'ChainExpression' ? (node.expression as AnyNode) : node;
  for (;;) {
    if (head.type === 'MemberExpression') {
      const kind = head.computed ? 'element' : 'member';
      const parts = head.computed ? [head.property] : [];
      links.push({ kind, node: head, optional: head.optional === true, parts, wrap: undefined });
      head = head.object;
    } else if (head.type === 'CallExpression') {
      const optional = head.optional === true;
      links.push({ kind: 'call', node: head, optional, parts: head.arguments, wrap: undefined });
      head = head.callee;
    } else if (head.type === 'TaggedTemplateExpression') {
      links.push({ kind: 'tag', node: head, optional: false, parts: [head.quasi], wrap: undefined });
      head = head.tag;
    } else break;
  }
  links.reverse();
  let optional = false;
  let split = false;
  let wrapped = false;
  links.forEach((link, index) => {
    link.wrap = head.type === 'Super' && index === 0 ? undefined : wrapOf(links, index, role);
    // `on` and `dyn` stand around what comes before the link; the others take its own `?.` along.
    if (link.wrap !== undefined) {
      wrapped = true;
      split ||= optional || (link.optional && link.wrap !== 'on' && link.wrap !== 'dyn');
    }
    optional ||= link.optional;
  });
  return { head, links, wrapped, split };
}

function wrapOf(links: readonly Link[], index: number, role: Role): Wrap | undefined {
  const link = links[index] as Link;
  const isLast = index === links.length - 1;
  const next = links[index + 1]?.kind;
  const isCalled = next === 'call' || next === 'tag' || (isLast && role === 'callee');
  if (link.kind === 'member') {
    const { property } = link.node as AnyNode & { type: 'MemberExpression' };
    return isCalled && property.type === 'Identifier' && METHODS.has(property.name) ? 'on' : undefined;
  }
  if (link.kind !== 'element') return undefined;
  const key = link.parts[0] as AnyNode;
  if (isCalled) {
    const name = fixedName(key);
    if (name !== undefined) return METHODS.has(name) ? 'on' : undefined;
    // What is called is no element of a typed array; but `view[name](...)` may be one of its methods.
    return key.type === 'Literal' || isPlainKey(key) ? undefined : 'dyn';
  }
  if (isPlainKey(key)) return undefined;
  if (isLast && role === 'target') return 'ref';
  if (isLast && role === 'set') return 'set';
  // `delete view[i]` touches no memory, whatever it returns or throws.
  return isLast && role === 'delete' ? undefined : 'get';
}

/**
 * optimal: the exhaustive search. Optimal dynamic partial order reduction with wake-up trees (Abdulla, Aronis, Jonsson, Sagonas): one
 * execution of each class of executions that differ only in the order of independent steps, and none that is cut short (but for
 * spinning).
 *
 * A plan is a sequence of actors, kept in the wake-up tree of the depth where it leaves the execution, unless what is asleep there,
 * or a branch, covers it.
 */
import type { Engine } from '../run/engine.ts';
import { NOT_INITIAL, type Planned, Reduction } from './reduction.ts';

/** A branch of a wake-up tree: who goes, and what comes after. */
interface Node {
  readonly actor: number;
  footprint: number;
  readonly children: Node[];
}

export class Optimal extends Reduction {
  /** By depth: the first branch is the one being explored. */
  readonly #tree: Node[][] = [];

  constructor(engine: Engine) {
    super(engine, 0, true);
  }

  protected override enter(depth: number): void {
    this.#tree[depth] = depth === 0 ? [] : this.#tree[depth - 1]![0]!.children;
  }

  protected override planned(depth: number): number {
    const tree = this.#tree[depth]!;
    return tree.length > 0 ? tree[0]!.actor : -1;
  }

  protected override begin(depth: number, actor: number): void {
    this.#tree[depth]!.push({ actor, footprint: 0, children: [] });
  }

  protected override took(depth: number, footprint: number): void {
    this.#tree[depth]![0]!.footprint = footprint;
  }

  protected override leave(depth: number): boolean {
    const tree = this.#tree[depth]!;
    tree.shift();
    return tree.length > 0;
  }

  protected override plant(depth: number, plan: Planned[]): void {
    for (let actor = 0; actor < this.actors; actor++) {
      const asleep = this.asleep(depth, actor);
      if (asleep >= 0 && this.initial(actor, asleep, plan) !== NOT_INITIAL) return;
    }
    let branches = this.#tree[depth]!;
    let isRoot = true;
    for (;;) {
      let taken: Node | undefined;
      for (let i = isRoot ? 1 : 0; i < branches.length; i++) {
        const branch = branches[i]!;
        const at = this.initial(branch.actor, branch.footprint, plan);
        if (at === NOT_INITIAL) continue;
        if (at >= 0) plan.splice(at, 1);
        taken = branch;
        break;
      }
      if (taken === undefined) break;
      if (taken.children.length === 0 || plan.length === 0) return;
      branches = taken.children;
      isRoot = false;
    }
    for (const { actor, footprint } of plan) {
      const node: Node = { actor, footprint, children: [] };
      branches.push(node);
      branches = node.children;
    }
  }
}

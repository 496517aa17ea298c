/**
 * reduction: what the searches that leave out equivalent executions have in common. They go depth first; what has been explored
 * from a state is asleep below it until something happens that it depends on; after each execution every race in it is reversed:
 * an execution is planned in which the later step's actor comes first. How plans are kept is what tells the searches apart.
 *
 * The step that a plan ends with was never performed in that place: its footprint there is worked out on the machine alone
 * (a compare-and-swap that failed may succeed). The others keep theirs, since all they depend on comes along.
 */
import type { Footprints } from '../model/footprints.ts';
import type { Op } from '../model/op.ts';
import * as O from '../model/op.ts';
import type { Engine, Scheduler } from '../run/engine.ts';
import { Order } from './order.ts';

/** A step that is planned. */
export interface Planned {
  readonly actor: number;
  readonly footprint: number;
  /** The step of the plan that makes this one possible, where that does not show in what they touch. */
  readonly cause: Planned | undefined;
}

/** A race to be reversed: `step` is at `depth` for what a blocked thread would do. */
interface Pair {
  readonly first: number;
  readonly step: number;
  readonly actor: number;
  readonly op: Op;
  readonly footprint: number;
}

/** Of a step and a plan: it is in it and cannot come first, or it is not in it. */
export const NOT_INITIAL = -2;
export const ABSENT = -1;

export abstract class Reduction implements Scheduler {
  /** Whether the execution was cut short, since all that could go on had been explored. */
  cut = false;
  protected readonly engine: Engine;
  protected readonly actors: number;
  /** First depth that this search decides about. */
  protected readonly root: number;
  readonly #footprints: Footprints;
  readonly #threads: number;
  readonly #order: Order;
  readonly #plansWhole: boolean;
  /** By depth and actor: footprint of an actor that is asleep, or -1. */
  #sleep: Int32Array;
  /** Depths that have been entered on this path. */
  #levels = 0;
  #lastThread = 0;
  /** First step that earlier executions did not have. */
  #branch = 0;

  /** @param plansWhole whether a plan holds all that can be done without the first step, or only what comes before the second */
  constructor(engine: Engine, root: number, plansWhole: boolean) {
    this.engine = engine;
    this.actors = engine.machine.actors;
    this.root = root;
    this.#footprints = engine.memory.footprints;
    this.#threads = engine.threads;
    this.#order = new Order(engine);
    this.#plansWhole = plansWhole;
    this.#sleep = new Int32Array(256 * this.actors).fill(-1);
  }

  // ---- what the searches do in their own ways ----------------------------------------------------------------------------

  /** A depth is reached for the first time on this path. */
  protected abstract enter(depth: number): void;
  /** The actor to go from this depth, or -1 when nothing is planned there. */
  protected abstract planned(depth: number): number;
  /** Nothing was planned at the depth, and this actor goes. */
  protected abstract begin(depth: number, actor: number): void;
  /** The planned actor went; this is what it touched. */
  protected abstract took(depth: number, footprint: number): void;
  /** All below the actor that went from this depth has been explored. @returns whether another is planned */
  protected abstract leave(depth: number): boolean;
  /** Keeps a plan that is to be followed from this depth. */
  protected abstract plant(depth: number, plan: Planned[]): void;

  // ---- choosing the next step --------------------------------------------------------------------------------------------

  pick(): number {
    const { depth } = this.engine;
    if (depth === this.#levels) this.#enter(depth);
    const planned = this.planned(depth);
    if (planned >= 0) return planned;
    const chosen = this.choose(depth);
    if (chosen >= 0) this.begin(depth, chosen);
    return chosen;
  }

  /** An actor that can move and is not asleep, the thread that ran last before others; or -1. */
  protected choose(depth: number): number {
    const { machine } = this.engine;
    const base = depth * this.actors;
    let isEnabled = false;
    let chosen = -1;
    const preferred = this.#lastThread;
    if (machine.canMove(preferred)) {
      isEnabled = true;
      if (this.#sleep[base + preferred]! < 0) chosen = preferred;
    }
    for (let actor = 0; actor < this.actors && chosen < 0; actor++) {
      if (actor === preferred || !machine.canMove(actor)) continue;
      isEnabled = true;
      if (this.#sleep[base + actor]! < 0) chosen = actor;
    }
    if (chosen < 0 && !isEnabled) chosen = machine.dueTimeout();
    if (chosen < 0) this.cut = isEnabled;
    return chosen;
  }

  /** Whether the actor could make the next step; a wait can time out when nobody else can move. */
  protected couldGo(actor: number): boolean {
    const { machine } = this.engine;
    if (machine.canMove(actor)) return true;
    for (let other = 0; other < this.actors; other++) if (machine.canMove(other)) return false;
    return machine.dueTimeout() === actor;
  }

  performed(): void {
    const depth = this.engine.depth - 1;
    const actor = this.engine.actor[depth]!;
    this.took(depth, this.engine.footprint[depth]!);
    if (actor < this.#threads) this.#lastThread = actor;
  }

  #enter(depth: number): void {
    const { actors } = this;
    if ((depth + 1) * actors > this.#sleep.length) {
      const more = new Int32Array(this.#sleep.length * 2).fill(-1);
      more.set(this.#sleep);
      this.#sleep = more;
    }
    const base = depth * actors;
    if (depth === 0) this.#sleep.fill(-1, 0, actors);
    else {
      const footprint = this.engine.footprint[depth - 1]!;
      for (let actor = 0; actor < actors; actor++) {
        const asleep = this.#sleep[base - actors + actor]!;
        this.#sleep[base + actor] = asleep >= 0 && !this.#footprints.dependent(asleep, footprint) ? asleep : -1;
      }
    }
    this.#levels = depth + 1;
    this.enter(depth);
  }

  /** Footprint of an actor that is asleep at a depth that was entered, or -1. */
  protected asleep(depth: number, actor: number): number {
    return this.#sleep[depth * this.actors + actor]!;
  }

  protected putToSleep(depth: number, actor: number, footprint: number): void {
    this.#sleep[depth * this.actors + actor] = footprint;
  }

  /**
   * Reverses the races of the execution that is over, and goes back to where the next one leaves it.
   *
   * @returns false when there is none
   */
  next(): boolean {
    const { engine } = this;
    this.#machineAt = engine.depth;
    this.reverse();
    for (let depth = engine.depth - 1; depth >= this.root; depth--) {
      this.putToSleep(depth, engine.actor[depth]!, engine.footprint[depth]!);
      if (!this.leave(depth)) continue;
      this.#goBack(depth);
      this.#levels = depth + 1;
      this.#branch = depth;
      return true;
    }
    this.#goBack(0);
    return false;
  }

  #goBack(depth: number): void {
    this.#goTo(depth);
    this.engine.backTo(depth);
    this.#order.forget(depth);
  }

  // ---- reversing ---------------------------------------------------------------------------------------------------------

  /** Where the machine is: it goes back and forth while plans are worked out. */
  #machineAt = 0;

  #goTo(depth: number): void {
    if (depth < this.#machineAt) this.engine.rewindMachine(depth);
    for (; this.#machineAt < depth; this.#machineAt++) this.engine.replayStep(this.#machineAt);
    this.#machineAt = depth;
  }

  protected reverse(): void {
    const { depth, actor, ordinal, op, footprint } = this.engine;
    const order = this.#order;
    order.extend();
    // The plan of an old race is new if it holds a new step, that is if not all of them happen after the race's first step.
    const least = this.#plansWhole ? order.leastFrom(this.#branch) : undefined;
    const pairs: Pair[] = [];
    for (let step = least === undefined ? this.#branch : 0; step < depth; step++) {
      for (const first of order.racesWith(step)) {
        if (least !== undefined && step < this.#branch && least[actor[first]!]! >= ordinal[first]!) continue;
        pairs.push({ first, step, actor: actor[step]!, op: op[step]!, footprint: footprint[step]! });
      }
    }
    this.#addBlocked(pairs);
    pairs.sort((a, b) => b.first - a.first); // in the order in which the machine has to go back
    for (const pair of pairs) this.#reverse(pair);
  }

  /** What threads that cannot move would do takes part in races like a step at the end. */
  #addBlocked(pairs: Pair[]): void {
    const { machine, memory, depth } = this.engine;
    for (let thread = 0; thread < this.#threads; thread++) {
      const op = machine.pending[thread]!;
      if (op.kind === O.END || op.kind === O.PAUSE || op.kind === O.START || machine.canMove(thread)) continue;
      const footprint =
        op.kind === O.WAIT || op.kind === O.WAKE_ASYNC
          ? this.#footprints.single(memory.list(op.cell), false)
          : op.kind === O.ACQUIRE
            ? op.writes
            : op.kind === O.UNTIL
              ? op.reads
              : -1;
      if (footprint < 0) continue;
      for (const first of this.#order.racesAtEnd(thread, footprint)) {
        pairs.push({ first, step: depth, actor: thread, op, footprint });
      }
    }
  }

  /** Plans an execution in which the second step's actor acts before the first step. */
  #reverse(pair: Pair): void {
    const { actor, footprint, cause, depth } = this.engine;
    const order = this.#order;
    const end = this.#plansWhole ? depth : pair.step;
    let { first } = pair;
    for (; first >= this.root; first = order.conflictBefore(first, pair.step, pair.actor, pair.footprint)) {
      const plan: Planned[] = [];
      const steps: number[] = [];
      const causeOf = (by: number): Planned | undefined => (by > first ? plan[steps.indexOf(by)] : undefined);
      for (let step = first + 1; step < end; step++) {
        if (step === pair.step || order.isBefore(first, step)) continue;
        plan.push({ actor: actor[step]!, footprint: footprint[step]!, cause: causeOf(cause[step]!) });
        steps.push(step);
      }
      const changed = this.#footprintThere(pair, first, steps);
      if (changed < 0) continue; // it is this step, or a later one, that lets the second happen at all
      plan.push({
        actor: pair.actor,
        footprint: changed,
        cause: causeOf(pair.step < depth ? cause[pair.step]! : -1),
      });
      // With its new footprint the second step may not conflict with the first any more: then nothing is reversed.
      if (this.initial(actor[first]!, footprint[first]!, plan) === NOT_INITIAL) this.plant(first, plan);
      return;
    }
  }

  /** Footprint that the second step has after the steps before `first` and those in `steps`; -1 when it cannot happen there. */
  #footprintThere(pair: Pair, first: number, steps: readonly number[]): number {
    const { engine } = this;
    const { machine } = engine;
    const { actor, op } = pair;
    if (actor >= this.#threads) {
      const role = machine.roleOf(actor);
      if (role === 'flush' || role === 'chooser') return pair.footprint;
    } else if (!machine.hasHelpers) {
      switch (op.kind) {
        case O.LOAD:
        case O.STORE:
        case O.ADD:
        case O.SUB:
        case O.AND:
        case O.OR:
        case O.XOR:
        case O.EXCHANGE:
        case O.PLAIN_LOAD:
        case O.PLAIN_STORE:
        case O.IS_ALIVE:
        case O.CHOOSE:
        case O.DIE:
        case O.MAP:
        case O.UNMAP:
        case O.RELEASE:
          return pair.footprint;
      }
    }
    this.#goTo(first);
    const mark = machine.mark;
    machine.depth = first;
    for (const step of steps) {
      machine.perform(engine.actor[step]!, engine.op[step]!);
      machine.depth++;
    }
    let footprint = -1;
    const { wrote } = op;
    if (actor >= this.#threads ? machine.canMove(actor) : machine.canPerform(actor, op)) {
      machine.perform(actor, op);
      machine.violation = undefined;
      footprint = machine.footprint;
    }
    machine.undo(mark);
    op.wrote = wrote; // what it did where it really happened
    return footprint;
  }

  /**
   * Whether the step could come first in the plan without changing anything.
   *
   * @returns its place in the plan; ABSENT when it has none and depends on nothing in it; else NOT_INITIAL
   */
  protected initial(actor: number, footprint: number, plan: readonly Planned[]): number {
    const place = this.placeIn(plan, actor);
    if (place !== ABSENT) return place;
    for (const step of plan) if (this.#footprints.dependent(step.footprint, footprint)) return NOT_INITIAL;
    return ABSENT;
  }

  /** Place of the actor's first step in the plan, NOT_INITIAL when it depends on an earlier one, or ABSENT. */
  protected placeIn(plan: readonly Planned[], actor: number): number {
    for (let i = 0; i < plan.length; i++) {
      const step = plan[i]!;
      if (step.actor !== actor) continue;
      for (let j = 0; j < i; j++) {
        const earlier = plan[j]!;
        if (earlier === step.cause || this.#footprints.dependent(earlier.footprint, step.footprint)) return NOT_INITIAL;
      }
      return i;
    }
    return ABSENT;
  }
}

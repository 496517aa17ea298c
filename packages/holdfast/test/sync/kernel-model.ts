// A plain model of the kernel's per-CPU reference count, written from its rules: one number for the count, callbacks in a queue.
// It knows nothing of slots, biases and words, so it errs elsewhere than the code under test, if it errs.
import type { Line } from '../../src/cli/replay/recording.ts';

interface Counter {
  percpu: boolean;
  /** What the control word says; it may look dead without having been killed. */
  dying: boolean;
  sticky: boolean;
  reinitable: boolean;
  /** The memory for per-CPU counting is still there. */
  spacious: boolean;
  switching: boolean;
  count: number;
  /** The count when it was last central: all that `exit` finds in per-CPU mode. */
  central: number;
  exited: boolean;
}

export class KernelModel {
  readonly #counters = new Map<number, Counter>();
  #queue: (() => void)[] = [];
  #events: unknown[] = [];
  #warnings = 0;
  #blocked = false;

  /** Whether a recording may contain the call now. */
  allows(line: Line): boolean {
    if (line['op'] === 'init' || line['op'] === 'grace_period') return true;
    const counter = this.#counters.get(line['ref'] as number);
    if (counter === undefined) return false;
    if (line['op'] === 'exit') return counter.exited ? counter.count === 0 : !counter.switching;
    return !counter.exited || line['op'] === 'is_zero' || line['op'] === 'is_dying';
  }

  /** The results of the call. */
  perform(line: Line): Line {
    this.#forget();
    const number = line['ref'] as number;
    let ret: unknown;
    let bug = false;
    try {
      ret = this.#call(line, number);
    } catch (error) {
      if (error !== FATAL) throw error;
      bug = true;
      this.#counters.delete(number);
    }
    const counter = this.#counters.get(number);
    const results: Line = {};
    if (ret !== undefined) results['ret'] = ret;
    if (this.#events.length > 0) results['events'] = this.#events;
    if (this.#blocked) results['blocked'] = true;
    if (this.#warnings > 0) results['warn'] = this.#warnings;
    if (bug) results['bug'] = true;
    if (counter) results['st'] = [+counter.percpu, +counter.dying, +isZero(counter), counter.count];
    return results;
  }

  #forget(): void {
    this.#events = [];
    this.#warnings = 0;
    this.#blocked = false;
  }

  #call(line: Line, number: number): unknown {
    if (line['op'] === 'grace_period') return this.#gracePeriod();
    if (line['op'] === 'init') return this.#init(number, line['flags'] as string[], line['oom'] === true);
    const counter = this.#counters.get(number)!;
    const amount = (line['nr'] as number | undefined) ?? 1;
    const confirm = (what: string) => (): void => void this.#events.push([what, number]);
    switch (line['op']) {
      case 'get':
        counter.count += amount;
        return undefined;
      case 'put':
        return this.#put(number, counter, amount);
      case 'tryget':
      case 'tryget_live': {
        const isNone = counter.count === 0 && !counter.switching; // see #put
        const taken = counter.percpu || ((line['op'] === 'tryget' || !counter.dying) && !isNone);
        if (taken) counter.count += amount;
        return taken;
      }
      case 'kill':
        return this.#kill(number, counter);
      case 'kill_and_confirm':
        return this.#kill(number, counter, confirm('confirm_kill'));
      case 'switch_to_atomic':
        counter.sticky = true;
        return this.#setMode(number, counter, line['confirm'] ? confirm('confirm_switch') : undefined);
      case 'switch_to_atomic_sync':
        counter.sticky = true;
        this.#setMode(number, counter);
        return this.#waitForSwitch(counter);
      case 'switch_to_percpu':
        counter.sticky = false;
        return this.#setMode(number, counter);
      case 'reinit':
        if (!isZero(counter)) this.#warnings++;
        return this.#resurrect(number, counter);
      case 'resurrect':
        return this.#resurrect(number, counter);
      case 'is_zero':
        return isZero(counter);
      case 'is_dying':
        return counter.dying;
      default:
        // exit: in per-CPU mode only the central part is kept.
        if (!counter.exited && counter.percpu) counter.count = counter.central;
        Object.assign(counter, { exited: true, percpu: false, dying: true });
        return undefined;
    }
  }

  #init(number: number, flags: string[], oom: boolean): number {
    this.#counters.delete(number);
    if (oom) return -12;
    const atomic = flags.includes('atomic');
    const dead = flags.includes('dead');
    const count = dead ? 0 : 1;
    this.#counters.set(number, {
      percpu: !atomic && !dead,
      dying: dead,
      sticky: atomic,
      reinitable: flags.length > 0,
      spacious: true,
      switching: false,
      count,
      central: count,
      exited: false,
    });
    return 0;
  }

  #put(number: number, counter: Counter, amount: number): void {
    counter.count -= amount;
    // While the slots are in use, or not harvested yet, the central count is far from zero.
    if (counter.count === 0 && !counter.percpu && !counter.switching) this.#events.push(['release', number]);
  }

  #kill(number: number, counter: Counter, confirm?: () => void): void {
    if (counter.dying) this.#warnings++;
    counter.dying = true;
    this.#setMode(number, counter, confirm);
    this.#put(number, counter, 1);
  }

  #resurrect(number: number, counter: Counter): void {
    if (!counter.dying) this.#warnings++;
    if (counter.percpu) this.#warnings++;
    counter.dying = false;
    counter.count++;
    this.#setMode(number, counter);
  }

  #setMode(number: number, counter: Counter, confirm?: () => void): void {
    this.#waitForSwitch(counter);
    if (!counter.sticky && !counter.dying) {
      if (!counter.spacious) throw FATAL;
      if (!counter.percpu) counter.central = counter.count;
      counter.percpu = true;
      return;
    }
    // A counter that was just killed is per-CPU no more, whatever its word said.
    if (!counter.percpu) {
      confirm?.();
      return;
    }
    counter.percpu = false;
    counter.switching = true;
    counter.count++;
    this.#queue.push(() => {
      if (counter.count <= 0) this.#warnings++;
      confirm?.();
      counter.switching = false;
      if (!counter.reinitable) {
        counter.spacious = false;
        counter.dying = true;
      }
      this.#put(number, counter, 1);
    });
  }

  #waitForSwitch(counter: Counter): void {
    if (!counter.switching) return;
    this.#blocked = true;
    this.#gracePeriod();
  }

  #gracePeriod(): void {
    const due = this.#queue;
    this.#queue = [];
    for (const callback of due) callback();
  }
}

const FATAL = new Error('fatal');

function isZero(counter: Counter): boolean {
  return !counter.percpu && !counter.switching && counter.count === 0;
}

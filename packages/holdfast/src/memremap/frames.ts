/**
 * frames: who holds which page. The kernel's struct page and its reference count, as bits instead of a number.
 *
 * A holder is a bit of its own, so setting and clearing it is idempotent: a dead participant is undone by clearing its bit
 * everywhere, and everybody can read who holds what. What a count gives for free, the answer "that was the last one", has to be
 * found out: the last put sees no bits, announces FREEING, looks again, and only then takes the page (CLEANING).
 *
 *   FREE ──acquire──▶ ALLOCATED ──no bits──▶ FREEING ──still no bits──▶ CLEANING ──finish──▶ FREE (next generation)
 *                         ▲                     │
 *                         └──── rescue / undo ──┘
 *
 * Promises: a block is freed once, by one thread, when nobody holds it, and never while a `tryHold` that returned true has not
 * been put; a stale handle is refused whatever happened to the page since. Costs: one atomic or and two loads for a hold, one
 * atomic and plus a look at the state for a put; nothing is shared beyond the descriptor's own line. Every call is made inside a
 * read-side section of the caller (sync/rcu), which is what lets recovery find a moment without anybody in here.
 *
 * All Atomics are sequentially consistent. The pairs marked ORDER need exactly that (store, then load of another word). Words that
 * an atomic operation on STATE or HOLDERS publishes, or that only the caller may write, are read and written plainly: an atomic
 * load or store takes some 8 ns, ten times a plain one.
 *
 * Source: put_page / free_zone_device_folio and folio_try_get of Linux. The kernel counts and cannot name holders; "idle" there
 * was 1 until 6.15 and is "no bit" here.
 */
import { HoldfastError } from '../errors.ts';
import {
  ALLOCATED,
  CLEANING,
  FLIGHT_MASK,
  FLIGHT_SHIFT,
  FREE,
  FREEING,
  FREER_MASK,
  FREER_SHIFT,
  frameStride,
  GENERATION,
  HOLDERS,
  MAP_MASK,
  MAP_SHIFT,
  NONE,
  PAGES,
  RESIDENT,
  STATE,
  STATE_MASK,
  UNUSED,
} from './frames.layout.ts';

/** What `Frames.describe` tells of one block. */
export interface FrameInfo {
  readonly frame: number;
  readonly state: 'none' | 'free' | 'allocated' | 'freeing' | 'cleaning';
  readonly map: number;
  readonly generation: number;
  readonly pages: number;
  readonly unusedBytes: number;
  readonly resident: boolean;
  /** How many parcels carry it. */
  readonly inFlight: number;
  readonly holders: readonly number[];
}

const STATE_NAMES = ['none', 'free', 'allocated', 'freeing', 'cleaning'] as const;

/** The descriptors of `count` frames in `words` from index `at`, for up to `slots` participants. */
export class Frames {
  readonly count: number;
  readonly slots: number;
  readonly #words: Int32Array;
  readonly #at: number;
  readonly #stride: number;

  constructor(words: Int32Array, at: number, count: number, slots: number) {
    this.#words = words;
    this.#at = at;
    this.count = count;
    this.slots = slots;
    this.#stride = frameStride(slots);
  }

  /** Words that `count` descriptors for `slots` participants take. */
  static wordsFor(count: number, slots: number): number {
    return count * frameStride(slots);
  }

  /** Makes frames `first .. first + count - 1` idle pages of map number `map`. Only while no other thread can reach them. */
  map(first: number, count: number, map: number): void {
    // The range is reserved for the caller and not yet published, so plain stores do; publishing the map orders them.
    // CRASH: a bit of somebody who died in a try may still be there, and its slot have another owner by now.
    if (count < 1) return;
    for (let i = 0, d = this.#index(first); i < count; i++, d += this.#stride) {
      for (let word = HOLDERS; word < this.#stride; word++) this.#words[d + word] = 0;
      this.#words[d + STATE] = FREE | (map << MAP_SHIFT);
    }
  }

  /** Takes the descriptors away again. Only after the drain: no page of the range is held or allocated. */
  unmap(first: number, count: number): void {
    if (count < 1) return;
    for (let i = 0, d = this.#index(first); i < count; i++, d += this.#stride) this.#words[d + STATE] = NONE;
  }

  /** Number of the map that frame `frame` belongs to, or -1. A plain look: what it leads to asks again, inside a section. */
  mapOf(frame: number): number {
    const state = this.#words[this.#index(frame) + STATE]!;
    return (state & STATE_MASK) === NONE ? -1 : (state & MAP_MASK) >>> MAP_SHIFT;
  }

  // The three that follow are exact for one who holds the block: nobody writes these words then, and its hold came after they were
  // written (plain reads). For everybody else they are a moment's view.

  /** Generation that a handle to `frame` must carry now. */
  generation(frame: number): number {
    return this.#words[this.#index(frame) + GENERATION]! >>> 0;
  }

  /** Pages of the block that starts at `frame`, bounded to the table: the word may have been written by anybody. */
  pages(frame: number): number {
    const pages = this.#words[this.#index(frame) + PAGES]!;
    return pages >= 1 && pages <= this.count - frame ? pages : 1;
  }

  /** Bytes of its last page that the block's owner did not ask for. */
  unusedBytes(frame: number): number {
    return this.#words[this.#index(frame) + UNUSED]! >>> 0;
  }

  /** Whether participant `slot` has its bit set on `frame`. */
  isHolder(frame: number, slot: number): boolean {
    return (Atomics.load(this.#words, this.#index(frame) + HOLDERS + (slot >>> 5)) & (1 << (slot & 31))) !== 0;
  }

  /**
   * Publishes the idle block at `frame` with participant `slot` as its first holder (or, with `resident`, none but the map).
   * The caller owns the pages by the pool's bitmap, or asks for a single page that others may ask for as well.
   *
   * @returns false when the page was not idle (only possible without a pool). The caller's bit is clear again, but it may have kept
   *          the last put of whoever was faster from freeing the page: the caller goes on with `tryHold`, or asks `tryFree`
   */
  acquire(frame: number, pages: number, unusedBytes: number, slot: number, resident = false): boolean {
    const words = this.#words;
    const d = this.#index(frame);
    // Whoever freed the page stored FREE before it gave the page to the pool; where there is no pool, the exchange below decides.
    const free = words[d + STATE]!;
    if ((free & STATE_MASK) !== FREE) return false;
    words[d + PAGES] = pages;
    words[d + UNUSED] = unusedBytes;
    // CRASH: a bit on a FREE page means nothing; recovery clears it.
    if (!resident) Atomics.or(words, d + HOLDERS + (slot >>> 5), 1 << (slot & 31));
    // ORDER: the bit before the state, so that nobody ever sees an ALLOCATED block without a holder and frees it (pairs with
    // the scan in #lastPut).
    // CRASH: before this line the pages are taken in the pool's bitmap only and recovery gives them back.
    const next = (free & MAP_MASK) | ALLOCATED | (resident ? RESIDENT : 0);
    if (Atomics.compareExchange(words, d + STATE, free, next) === free) return true;
    if (!resident) this.clear(frame, slot);
    return false;
  }

  /**
   * Takes a hold by handle. The caller must not hold the block already (nested holds are counted privately, above).
   *
   * @returns true: the caller's bit is set and the block stays; false: the handle is stale, and the caller must `clear` its bit
   *          and ask `tryFree`, since the bit may have kept the last put of a newer block from freeing it
   */
  tryHold(frame: number, generation: number, slot: number): boolean {
    const words = this.#words;
    const d = this.#index(frame);
    // ORDER: the bit first, then the state (pairs with #lastPut: state FREEING first, then the bits). One of the two sees the
    // other: either we see FREEING and rescue, or the one that frees sees our bit and leaves the block alone.
    Atomics.or(words, d + HOLDERS + (slot >>> 5), 1 << (slot & 31));
    for (;;) {
      const state = Atomics.load(words, d + STATE);
      const kind = state & STATE_MASK;
      // From here on our bit keeps an ALLOCATED block, so its generation cannot change under us.
      if (kind !== ALLOCATED && kind !== FREEING) return false;
      // ORDER: read after the state, whose load is an acquire.
      if (words[d + GENERATION]! >>> 0 !== generation) return false;
      if (kind === ALLOCATED) return true;
      // Somebody saw no holder although one may exist (it moved from word to word during the look), or there is none and the
      // handle was kept without holding. Either way nobody has committed: take the block back. The freer's slot in the word
      // makes its own commit fail, also after a second FREEING by another.
      const back = (state & ~(STATE_MASK | FREER_MASK)) | ALLOCATED;
      if (Atomics.compareExchange(words, d + STATE, state, back) === state) return true;
    }
  }

  /** Clears the bit of `slot` without asking whether it was the last: before `tryFree`. Idempotent. */
  clear(frame: number, slot: number): void {
    Atomics.and(this.#words, this.#index(frame) + HOLDERS + (slot >>> 5), ~(1 << (slot & 31)));
  }

  /**
   * Puts the hold of `slot`: clears its bit, and frees the block if nobody else holds it. Answers as `tryFree`.
   *
   * A bit that was clear already was taken away by the one that tears the map down by force, who has asked in our place.
   */
  drop(frame: number, slot: number): boolean {
    const index = this.#index(frame) + HOLDERS + (slot >>> 5);
    const bit = 1 << (slot & 31);
    // Others in the same word at this very moment: the last of them asks, after us. No second look is needed to know that.
    if (Atomics.and(this.#words, index, ~bit) !== bit) return false;
    return this.tryFree(frame, slot);
  }

  /**
   * The last-put check: frees the block if nobody holds it. Everyone who cleared a bit must ask; one of the askers wins.
   *
   * @param slot the caller's own slot, which marks FREEING and CLEANING as its own
   * @returns true when the caller has won: the block is CLEANING and must be given to `finishFree`
   */
  tryFree(frame: number, slot: number): boolean {
    const words = this.#words;
    const d = this.#index(frame);
    for (;;) {
      // ORDER: our own bit was cleared before this look. Of several who leave, the one that cleared last sees no bits.
      if (this.#held(d)) return false;
      const state = Atomics.load(words, d + STATE);
      if ((state & STATE_MASK) !== ALLOCATED || (state & (RESIDENT | FLIGHT_MASK)) !== 0) return false;
      const freeing = (state & MAP_MASK) | FREEING | (slot << FREER_SHIFT);
      // CRASH: FREEING by a dead slot: recovery sets ALLOCATED and asks again.
      if (Atomics.compareExchange(words, d + STATE, state, freeing) !== state) continue;
      // ORDER: FREEING first, then the bits (pairs with tryHold).
      if (this.#held(d)) {
        Atomics.compareExchange(words, d + STATE, freeing, state);
        continue; // whoever set the bit may have cleared it before our undo and relied on us: look again
      }
      const cleaning = (state & MAP_MASK) | CLEANING | (slot << FREER_SHIFT);
      if (Atomics.compareExchange(words, d + STATE, freeing, cleaning) === freeing) return true;
    }
  }

  /** Ends the life of a CLEANING block: next generation, then FREE. The caller then gives the pages back to their pool. */
  finishFree(frame: number): void {
    const words = this.#words;
    const d = this.#index(frame);
    // ORDER: generation before FREE: once the page can be acquired again, every older handle is stale.
    // CRASH: CLEANING by a dead slot: recovery runs this again; a generation that jumps by two is as good as by one.
    // LIFE: a CLEANING descriptor is the caller's alone to write, but for stale bits.
    words[d + GENERATION] = (words[d + GENERATION]! + 1) | 0;
    Atomics.store(words, d + STATE, (words[d + STATE]! & MAP_MASK) | FREE);
  }

  /** Counts a parcel in that carries the block, which the caller holds. */
  countIn(frame: number): void {
    const index = this.#index(frame) + STATE;
    for (;;) {
      // ORDER: as tryHold, it takes the block back from one who looked before our bit was there: that one finds another state than it
      // left, and would leave FREEING behind with nobody to end it.
      const state = Atomics.load(this.#words, index);
      const kept = (state & STATE_MASK) === FREEING ? (state & ~(STATE_MASK | FREER_MASK)) | ALLOCATED : state;
      if (Atomics.compareExchange(this.#words, index, state, kept + (1 << FLIGHT_SHIFT)) === state) return;
    }
  }

  /** Counts a parcel out. The caller then asks `tryFree`, unless it holds the block. */
  countOut(frame: number): void {
    // Whoever frees sees the count with the state: a block that is counted is not FREEING.
    Atomics.sub(this.#words, this.#index(frame) + STATE, 1 << FLIGHT_SHIFT);
  }

  /** Makes the block of `slot`, which has taken a parcel of it: that keeps the block until the bit is set. */
  holdFromFlight(frame: number, slot: number): void {
    Atomics.or(this.#words, this.#index(frame) + HOLDERS + (slot >>> 5), 1 << (slot & 31));
  }

  /** Whether a block in use begins at `frame`, with this generation. Any number may be asked for. */
  isBlock(frame: number, generation: number): boolean {
    if (!(frame >= 0 && frame < this.count)) return false;
    const state = this.state(frame);
    return (state === ALLOCATED || state === FREEING) && this.generation(frame) === generation;
  }

  /** Drops the map's own reference of a resident block. The caller then asks `tryFree`. */
  dropResident(frame: number): void {
    Atomics.and(this.#words, this.#index(frame) + STATE, ~RESIDENT);
  }

  /** Gives a block its map's reference (back): `false` when the block is not ALLOCATED. */
  setResident(frame: number): boolean {
    const index = this.#index(frame) + STATE;
    const state = Atomics.load(this.#words, index);
    if ((state & STATE_MASK) !== ALLOCATED) return false;
    return Atomics.compareExchange(this.#words, index, state, state | RESIDENT) === state;
  }

  /** First frame of the table at or after `from`, below `end`, that is in use by a block (`ALLOCATED`, `FREEING` or `CLEANING`); -1: none. */
  nextBlock(from: number, end: number): number {
    const words = this.#words;
    const first = Math.max(from, 0);
    const last = Math.min(end, this.count);
    if (first >= last) return -1;
    for (let frame = first, d = this.#index(first); frame < last; frame++, d += this.#stride) {
      // Plain, since a thousand times a thousand are looked at. A moment's view, like every answer to "who is there"; who needs more
      // has had a grace period since the blocks could last be made (kill, recovery).
      if ((words[d + STATE]! & STATE_MASK) >= ALLOCATED) return frame;
    }
    return -1;
  }

  /** State of the frame, one of the constants of `frames.layout.ts`. */
  state(frame: number): number {
    return Atomics.load(this.#words, this.#index(frame) + STATE) & STATE_MASK;
  }

  /** The slot that is freeing the block, or -1. */
  freer(frame: number): number {
    const state = Atomics.load(this.#words, this.#index(frame) + STATE);
    return (state & STATE_MASK) >= FREEING ? (state & FREER_MASK) >>> FREER_SHIFT : -1;
  }

  /** Slots of the participants whose bits are set on `frame`, ascending. A moment's view. */
  holders(frame: number): number[] {
    const slots: number[] = [];
    const d = this.#index(frame) + HOLDERS;
    for (let word = 0; word < this.#stride - HOLDERS; word++) {
      for (let bits = Atomics.load(this.#words, d + word); bits !== 0; bits &= bits - 1) {
        slots.push(word * 32 + 31 - Math.clz32(bits & -bits));
      }
    }
    return slots;
  }

  /** One descriptor in words for people and tests. */
  describe(frame: number): FrameInfo {
    const state = Atomics.load(this.#words, this.#index(frame) + STATE);
    return {
      frame,
      state: STATE_NAMES[state & STATE_MASK] ?? 'none',
      map: (state & STATE_MASK) === NONE ? -1 : (state & MAP_MASK) >>> MAP_SHIFT,
      generation: this.generation(frame),
      pages: this.pages(frame),
      unusedBytes: this.unusedBytes(frame),
      resident: (state & RESIDENT) !== 0,
      inFlight: (state & FLIGHT_MASK) >>> FLIGHT_SHIFT,
      holders: this.holders(frame),
    };
  }

  /**
   * Puts one descriptor right after a death, with nobody inside a section (recovery only): a bit on an idle page goes, a
   * half-freed block whose freer is dead is brought to an end or back.
   *
   * @param isDead   tells of a slot whether its participant is gone
   * @param inFlight how many parcels carry the block
   * @param onHeld   told of each of the dead that held the block
   * @returns true when the block is now idle but was in use: the pool must be told by rebuilding it
   */
  repair(
    frame: number,
    me: number,
    isDead: (slot: number) => boolean,
    inFlight = 0,
    onHeld?: (slot: number, pages: number) => void,
  ): boolean {
    const words = this.#words;
    const d = this.#index(frame);
    // Plain: nobody is inside, and a grace period has passed since somebody was. Most pages are idle, and others wait meanwhile.
    const found = words[d + STATE]!;
    if ((found & STATE_MASK) === NONE) return false; // nobody's; `map` clears it
    if ((found & ~MAP_MASK) === FREE && inFlight === 0) {
      let bits = 0;
      for (let i = d + HOLDERS; i < d + this.#stride; i++) bits |= words[i]!;
      if (bits === 0) return false;
    }
    const isBlock = this.state(frame) >= ALLOCATED;
    for (const slot of this.holders(frame)) {
      if (!isDead(slot)) continue;
      if (isBlock) onHeld?.(slot, this.pages(frame));
      this.clear(frame, slot);
    }
    const seen = Atomics.load(words, d + STATE);
    const state = (seen & ~FLIGHT_MASK) | (inFlight << FLIGHT_SHIFT);
    if (state !== seen) Atomics.store(words, d + STATE, state);
    const kind = state & STATE_MASK;
    if (kind === FREEING) Atomics.store(words, d + STATE, (state & ~(STATE_MASK | FREER_MASK)) | ALLOCATED);
    if (kind === CLEANING || (kind >= ALLOCATED && this.tryFree(frame, me))) {
      this.finishFree(frame);
      return true;
    }
    if (kind === FREE) for (const slot of this.holders(frame)) this.clear(frame, slot);
    return false;
  }

  #held(d: number): boolean {
    const words = this.#words;
    const end = d + this.#stride;
    for (let i = d + HOLDERS; i < end; i++) if (Atomics.load(words, i) !== 0) return true;
    return false;
  }

  #index(frame: number): number {
    // A fraction would be cut off by Atomics, and another page's words be answered for.
    if (!(frame >= 0 && frame < this.count && Number.isInteger(frame))) {
      throw new HoldfastError(
        'EFAULT',
        `page ${frame} is outside of this region, which has pages 0 to ${this.count - 1}`,
      );
    }
    return this.#at + frame * this.#stride;
  }
}

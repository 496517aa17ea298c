/** Golden texts of stories. A change of a text is a change of what users read: look at it before it goes in here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { storyText } from '../../src/report/text.ts';
import { displayWidth } from '../../src/report/width.ts';
import type { Story } from '../../src/types.ts';
import * as stories from './stories.ts';

function golden(story: Story, width: number, expected: string): void {
  assert.equal(`\n${storyText(story, { width, cwd: stories.CWD })}\n`, expected);
}

test('storyText: use after unmap, as the specification shows it', () => {
  golden(
    stories.useAfterUnmap,
    120,
    `
ExploreFailure: use-after-unmap in scenario "unbind while pages are held"
  user#0 touched data[0], which was unmapped in step 4
  found after 212 executions, 1 preemption, memory: tso

      owner                                      user#0
      ─────────────────────────────────────      ─────────────────────────────────────
                                              1  cas    ref.count 1 → 2  src/ref.ts:41
   2  store  state 0 → 2    src/pgmap.ts:88
   3  sub    ref.count 2 → 1  src/ref.ts:57
   4  unmap  data           src/pgmap.ts:96   ← should wait for ref.count == 0
                                              5  load   data[0]  ✗ the range was unmapped in step 4   src/page.ts:19

  The words: ref.count = ctl[0], state = ctl[4].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a deadlock: who waits for what, and where', () => {
  golden(
    stories.deadlock,
    120,
    `
ExploreFailure: deadlock in scenario "two locks, two orders"
  nobody can move: left, right
  found after 3 executions, 1 preemption, memory: sc

      left                                                        right
      ──────────────────────────────────────────────────────      ──────────────────────────────────────────────────────
   1  cas    lockA 0 → 1                      src/lock.ts:12
                                                               2  cas    lockB 0 → 1                      src/lock.ts:12
                                                               3  cas    lockA is 1 (of step 1), no change  …/lock.ts:12
                                                               4  wait   lockA is 1 (of step 1), sleeps   src/lock.ts:14
   5  cas    lockB is 1 (of step 2), no change  …/lock.ts:12
   6  wait   lockB is 1 (of step 2), sleeps   src/lock.ts:14

  Who cannot move:
    left   waits for a notify of lockB, asleep since step 6
             at Lock.lock (src/lock.ts:14:15)
             at left (test/lock.test.ts:9:7)
    right  waits for a notify of lockA, asleep since step 4
             at Lock.lock (src/lock.ts:14:15)
             at right (test/lock.test.ts:14:7)

  The words: lockA = ctl[0], lockB = ctl[1].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a lost wake-up', () => {
  golden(
    stories.lostWakeup,
    120,
    `
ExploreFailure: lost-wakeup in scenario "flag, then notify, then sleep"
  reader sleeps on flag, which was notified in step 3, before it went to sleep
  found after 7 executions, 1 preemption, memory: sc

      reader                                            writer
      ────────────────────────────────────────────      ─────────────────────────────────────────
   1  load    flag is 0             src/bell.ts:20
                                                     2  store   word 0 → 1         src/bell.ts:31
                                                     3  notify  flag wakes nobody  src/bell.ts:32   ← nobody sleeps yet
   4  wait    flag is 0, sleeps  ✗ sleeps for good   src/bell.ts:22

  Who cannot move:
    reader  waits for a notify of flag, asleep since step 4
              at Bell.wait (src/bell.ts:22:13)

  The words: flag = ctl[0].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: stores that wait in their buffers, and one that never left', () => {
  golden(
    stories.storeBuffers,
    120,
    `
ExploreFailure: check in scenario "both enter"
  found after 9 executions, 0 preemptions, memory: tso

      left                                                     right
      ───────────────────────────────────────────────────      ─────────────────────────────────────────────────────
   1  store    x = 1 (flushed in step 5)  src/dekker.ts:5
   2  load     y is 0                     src/dekker.ts:6
                                                            3  store    y = 1 (still in its buffer)  src/dekker.ts:5
                                                            4  load     x is 0                       src/dekker.ts:6
   5  · flush  x 0 → 1 (of step 1)
   6  add      inside 0 → 1               src/dekker.ts:7
                                                            7  load     inside is 1  ✗ both are inside   src/dekker.ts:8

  The words: x = ctl[0], y = ctl[1], inside = ctl[2].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a race: both accesses are marked', () => {
  golden(
    stories.race,
    120,
    `
ExploreFailure: race in scenario "publish without order"
  data[0] is written in step 1 and read in step 5, and nothing orders the two (portable only)
  found after 2 executions, 0 preemptions, memory: portable

      writer                                                       reader
      ───────────────────────────────────────────────────────      ─────────────────────────────────────────────────────
   1  store    data[0] 0 → 42  ✗ plain write  src/queue.ts:30
   2  store    ready = 1 (flushed in step 3)  src/queue.ts:31
   3  · flush  ready 0 → 1 (of step 2)
                                                                4  load     ready is 1                   src/queue.ts:40
                                                                5  load     data[0] is 42 (of step 1)  ✗   …/queue.ts:41
                                                                     plain read

  The words: ready = ctl[0].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: more than three threads: one column with names', () => {
  golden(
    stories.fiveThreads,
    120,
    `
ExploreFailure: livelock in scenario "a token that nobody passes on"
  d looks at turn for ever
  found after 40 executions, 2 preemptions, memory: sc

   1  a  spawn   e                          src/ring.ts:8
   2     add     turn 0 → 1                src/ring.ts:12
   3  b  add     turn 1 → 2                src/ring.ts:12
   4     notify  turn wakes nobody         src/ring.ts:13
   5  c  choose  1                         src/ring.ts:20
   6     note    c keeps the token         src/ring.ts:21
   7  d  load    turn is 2 (of step 3)     src/ring.ts:16
   8  e  die                               src/ring.ts:12
   9  d  load    turn is 2 (of step 3)  ✗ nothing it looks at changes any more   src/ring.ts:16

  Who cannot move:
    d  waits for turn to be other than 2
         at Ring.take (src/ring.ts:16:12)

  The words: turn = ctl[0].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: steps that only matter to one thread are folded', () => {
  golden(
    stories.folded,
    120,
    `
ExploreFailure: check in scenario "a reader that copies first"
  found after 5 executions, 1 preemption, memory: sc

      reader                                              writer
      ──────────────────────────────────────────────      ────────────────────────────────
   1  load   head is 0                 src/log.ts:10
   2  … 3 steps on its own words
                                                       5  store  head 0 → 1  src/log.ts:30
                                                       6  store  tail 0 → 1  src/log.ts:31
                                                       7  store  tail 1 → 2  src/log.ts:31   ← the second time
   8  load   head is 1 (of step 5)  ✗ torn   src/log.ts:15

  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a story without steps', () => {
  golden(
    stories.empty,
    120,
    `
ExploreFailure: unsupported in scenario "module state"
  cache in src/cache.ts:3 cannot be saved: a WeakMap
  found after 1 execution, 0 preemptions, memory: sc

  (it failed before any step)

  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: three threads with helpers', () => {
  golden(
    stories.everything,
    120,
    `
ExploreFailure: check in scenario "close while a reader is inside"
  found after 88,412 executions, 2 preemptions, memory: tso

      closer                               reader                              late
      ───────────────────────────────      ──────────────────────────────      ─────────────────────────────────────────
   1  spawn    late    src/close.ts:3
                                        2  store    inside = 1 (flushed in step 9)  rcu.ts:20
                                        3  load     open is 1   rcu.ts:21
                                                                            4  wait     door is 0, sleeps  src/late.ts:4
   5  store    open 1 → 0  close.ts:5
   6  notify   door wakes 1  close.ts:6
   7  membarrier       src/close.ts:7
                                                                            8  · membarrier
                                        9  · flush  inside 0 → 1 (of step 2)
                                       10  · membarrier
                                                                           11  wake     door (by step 6)   src/late.ts:4
                                                                           12  load     open is 0 (of step 5)  late.ts:5
  13  load     inside is 1 (of step 9)  close.ts:9
        ← seen inside, and closed all the same
  14  store    freed 0 → 1  close.ts:11
                                       15  load     freed is 1  ✗ freed under a reader   src/rcu.ts:30

  The words: open = ctl[0], inside = ctl[1], door = ctl[2], freed = ctl[3].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a narrow terminal: three threads in one column', () => {
  golden(
    stories.everything,
    80,
    `
ExploreFailure: check in scenario "close while a reader is inside"
  found after 88,412 executions, 2 preemptions, memory: tso

   1  closer  spawn    late                           src/close.ts:3
   2  reader  store    inside = 1 (flushed in step 9)  src/rcu.ts:20
   3          load     open is 1                       src/rcu.ts:21
   4  late    wait     door is 0, sleeps               src/late.ts:4
   5  closer  store    open 1 → 0                     src/close.ts:5
   6          notify   door wakes 1                   src/close.ts:6
   7          membarrier                              src/close.ts:7
   8  late    · membarrier
   9  reader  · flush  inside 0 → 1 (of step 2)
  10          · membarrier
  11  late    wake     door (by step 6)                src/late.ts:4
  12          load     open is 0 (of step 5)           src/late.ts:5
  13  closer  load     inside is 1 (of step 9)        src/close.ts:9
                ← seen inside, and closed all the same
  14          store    freed 0 → 1                   src/close.ts:11
  15  reader  load     freed is 1  ✗ freed under a reader   src/rcu.ts:30

  The words: open = ctl[0], inside = ctl[1], door = ctl[2], freed = ctl[3].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a narrow terminal: lines run on to the right, or are broken', () => {
  golden(
    stories.storeBuffers,
    72,
    `
ExploreFailure: check in scenario "both enter"
  found after 9 executions, 0 preemptions, memory: tso

      left                            right
      ──────────────────────────      ──────────────────────────────────
   1  store    x = 1 (flushed in step 5)  dekker.ts:5
   2  load     y is 0  dekker.ts:6
                                   3  store    y = 1 (still in its
                                        buffer)          src/dekker.ts:5
                                   4  load     x is 0    src/dekker.ts:6
   5  · flush  x 0 → 1 (of step 1)
   6  add      inside 0 → 1  dekker.ts:7
                                   7  load     inside is 1  ✗
                                                         src/dekker.ts:8
                                        both are inside

  The words: x = ctl[0], y = ctl[1], inside = ctl[2].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: a very narrow terminal', () => {
  golden(
    stories.deadlock,
    44,
    `
ExploreFailure: deadlock in scenario "two locks, two orders"
  nobody can move: left, right
  found after 3 executions, 1 preemption, memory: sc

   1  left   cas    lockA 0 → 1   lock.ts:12
   2  right  cas    lockB 0 → 1   lock.ts:12
   3         cas    lockA is 1 (of step 1),
               no change      src/lock.ts:12
   4         wait   lockA is 1 (of step 1),
               sleeps         src/lock.ts:14
   5  left   cas    lockB is 1 (of step 2),
               no change      src/lock.ts:12
   6         wait   lockB is 1 (of step 2),
               sleeps         src/lock.ts:14

  Who cannot move:
    left   waits for a notify of lockB,
           asleep since step 6
             at Lock.lock (src/lock.ts:14:15)
             at left (test/lock.test.ts:9:7)
    right  waits for a notify of lockA,
           asleep since step 4
             at Lock.lock (src/lock.ts:14:15)
             at right (test/lock.test.ts:14:7)

  The words: lockA = ctl[0], lockB = ctl[1].
  Replay: EXPLORE_REPLAY=x1:AQAAAAE=
`,
  );
});

test('storyText: no line is wider than the terminal, but the title, the origin and the replay string', () => {
  for (const [name, story] of Object.entries(stories.all)) {
    for (const width of [40, 57, 80, 100, 120, 200]) {
      for (const line of storyText(story, { width, cwd: stories.CWD }).split('\n')) {
        if (/^ExploreFailure|^ {2}found after|^ {2}Replay|^ +at /.test(line)) continue;
        assert.ok(displayWidth(line) <= width, `${name} at ${width}: ${displayWidth(line)} columns: ${line}`);
      }
    }
  }
});

test('storyText: every place keeps its line number, however narrow', () => {
  const text = storyText(stories.useAfterUnmap, { width: 40, cwd: stories.CWD });
  for (const line of [41, 88, 57, 96, 19]) assert.match(text, new RegExp(`:${line}$`, 'm'));
});

test('storyText: two hundred steps, all there and numbered in time', () => {
  const lines = storyText(stories.long, { cwd: stories.CWD }).split('\n');
  const numbers = lines.map((line) => /^ +(\d+) {2}add/.exec(line)?.[1]).filter((n) => n !== undefined);
  assert.deepEqual(
    numbers.map(Number),
    Array.from({ length: 200 }, (_, i) => i + 1),
  );
  assert.match(lines[1]!, /^ {2}found after 1,234,567 executions, 199 preemptions/);
});

test('storyText: colours change nothing but colours', () => {
  for (const story of Object.values(stories.all)) {
    const options = { width: 90, cwd: stories.CWD };
    const colored = storyText(story, { ...options, color: true });
    const lines = stripVTControlCharacters(colored).split('\n');
    assert.deepEqual(
      lines.map((line) => line.trimEnd()),
      storyText(story, options).split('\n'),
    );
    assert.ok(colored.startsWith('\x1b[1;31mExploreFailure'));
  }
});

test('storyText: nothing of the checked program reaches the terminal as a command', () => {
  const text = storyText(stories.hostile, { cwd: stories.CWD });
  assert.doesNotMatch(text, /\u202e|(?!\n)\p{Cc}/u);
  assert.match(text, /\\u001b\[31mred/);
});

test('storyText: wide characters keep the columns straight', () => {
  const wide = stories.storyOf('check', {
    threads: ['左', '👩‍👩‍👧 right'],
    steps: stories.stepsOf(
      ['左', 'store', { location: '名前', cell: 'c[0]', before: 0, after: 1, at: 'a.ts:1' }],
      ['👩‍👩‍👧 right', 'store', { location: 'é', cell: 'c[0]', before: 1, after: 2, at: 'a.ts:2' }],
    ),
  });
  const lines = storyText(wide, { cwd: stories.CWD }).split('\n');
  const head = lines.findIndex((line) => line.includes('左'));
  const columnOf = (line: string, part: string) => displayWidth(line.slice(0, line.indexOf(part)));
  assert.equal(columnOf(lines[head]!, '👩‍👩‍👧'), columnOf(lines[head + 3]!, 'store'));
  assert.equal(displayWidth(lines[head + 2]!), columnOf(lines[head + 1]!, '─') + lines[head + 1]!.trim().indexOf(' '));
});

test('storyText: very long values and names are cut in the middle', () => {
  const story = stories.storyOf('check', {
    steps: stories.stepsOf(
      ['a', 'store', { location: 'w'.repeat(100), cell: 'c[0]', before: 0n, after: 10n ** 60n, at: 'a.ts:1' }],
      ['b', 'load', { location: 'x', cell: 'c[0]', result: { deep: ['y'.repeat(500)] }, failed: true }],
    ),
  });
  const text = storyText(story, { cwd: stories.CWD });
  assert.match(text, /store {2}w+…w+ 0n → 10+…0+n/);
  assert.match(text, /load {3}x is \{"deep":\["y+…y+"\]\} {2}✗$/m);
});

test('storyText: a race that marks one access only: the other one is found', () => {
  const steps = stories.race.steps.map((step) => {
    const { failed: _, note: __, ...rest } = step;
    return step.step === 5 ? { ...rest, failed: true } : rest;
  });
  const text = storyText({ ...stories.race, steps }, { cwd: stories.CWD, width: 140 });
  assert.match(text, /1 {2}store {4}data\[0\] 0 → 42 {2}✗/);
  assert.match(text, /5 {2}load {5}data\[0\] is 42 \(of step 1\) {2}✗ with step 1/);
});

test('storyText: the command follows the replay string, and an Error gives the first word itself', () => {
  const text = storyText(stories.empty, { bare: true, command: 'npx vitest -t "module state"' });
  assert.match(text, /^unsupported in scenario/);
  assert.match(text, /EXPLORE_REPLAY=x1:AQAAAAE= npx vitest -t "module state"$/);
});

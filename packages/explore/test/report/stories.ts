/**
 * stories: what an engine could have told, one story of each kind, for all tests of renderings.
 */
import type { FailureKind, Report, Story, StoryStep } from '../../src/types.ts';

export const CWD = '/home/me/project';

type StepFields = Partial<Omit<StoryStep, 'step' | 'thread' | 'op'>>;

/** Numbers the steps from 1. */
export function stepsOf(...steps: [thread: string, op: string, fields?: StepFields & { at?: string }][]): StoryStep[] {
  return steps.map(([thread, op, { at, ...fields } = {}], i) => ({
    step: i + 1,
    thread,
    actor: 'thread',
    op,
    ...fields,
    ...(at === undefined ? {} : { file: `${CWD}/src/${at.split(':')[0]}`, line: Number(at.split(':')[1]), column: 5 }),
  }));
}

export function storyOf(kind: FailureKind, fields: Partial<Story>): Story {
  return {
    scenario: kind,
    kind,
    message: '',
    memory: 'sc',
    executions: 1,
    preemptions: 0,
    threads: ['a', 'b'],
    steps: [],
    stuck: [],
    words: [],
    replay: 'x1:AQAAAAE=',
    ...fields,
  };
}

const count = { location: 'ref.count', cell: 'ctl[0]' };
const state = { location: 'state', cell: 'ctl[4]' };

export const useAfterUnmap = storyOf('use-after-unmap', {
  scenario: 'unbind while pages are held',
  message: 'user#0 touched data[0], which was unmapped in step 4',
  memory: 'tso',
  executions: 212,
  preemptions: 1,
  threads: ['owner', 'user#0'],
  steps: stepsOf(
    ['user#0', 'cas', { ...count, before: 1, after: 2, result: 1, at: 'ref.ts:41' }],
    ['owner', 'store', { ...state, before: 0, after: 2, result: 2, at: 'pgmap.ts:88' }],
    ['owner', 'sub', { ...count, before: 2, after: 1, result: 2, at: 'ref.ts:57' }],
    ['owner', 'unmap', { location: 'data', at: 'pgmap.ts:96', note: 'should wait for ref.count == 0' }],
    [
      'user#0',
      'load',
      {
        location: 'data[0]',
        cell: 'data[0]',
        failed: true,
        at: 'page.ts:19',
        note: 'the range was unmapped in step 4',
      },
    ],
  ),
  words: [
    { name: 'ref.count', cell: 'ctl[0]' },
    { name: 'state', cell: 'ctl[4]' },
  ],
});

const lockA = { location: 'lockA', cell: 'ctl[0]' };
const lockB = { location: 'lockB', cell: 'ctl[1]' };

export const deadlock = storyOf('deadlock', {
  scenario: 'two locks, two orders',
  message: 'nobody can move: left, right',
  executions: 3,
  preemptions: 1,
  threads: ['left', 'right'],
  steps: stepsOf(
    ['left', 'cas', { ...lockA, before: 0, after: 1, result: 0, at: 'lock.ts:12' }],
    ['right', 'cas', { ...lockB, before: 0, after: 1, result: 0, at: 'lock.ts:12' }],
    ['right', 'cas', { ...lockA, before: 1, after: 1, result: 1, sees: 1, at: 'lock.ts:12' }],
    ['right', 'wait', { ...lockA, before: 1, sees: 1, at: 'lock.ts:14' }],
    ['left', 'cas', { ...lockB, before: 1, after: 1, result: 1, sees: 2, at: 'lock.ts:12' }],
    ['left', 'wait', { ...lockB, before: 1, sees: 2, at: 'lock.ts:14' }],
  ),
  stuck: [
    {
      thread: 'left',
      waitsFor: 'a notify of lockB, asleep since step 6',
      stack: [`at Lock.lock (${CWD}/src/lock.ts:14:15)`, `at left (file://${CWD}/test/lock.test.ts:9:7)`],
    },
    {
      thread: 'right',
      waitsFor: 'a notify of lockA, asleep since step 4',
      stack: [`at Lock.lock (${CWD}/src/lock.ts:14:15)`, `at right (file://${CWD}/test/lock.test.ts:14:7)`],
    },
  ],
  words: [
    { name: 'lockA', cell: 'ctl[0]' },
    { name: 'lockB', cell: 'ctl[1]' },
  ],
});

export const lostWakeup = storyOf('lost-wakeup', {
  scenario: 'flag, then notify, then sleep',
  message: 'reader sleeps on flag, which was notified in step 3, before it went to sleep',
  executions: 7,
  preemptions: 1,
  threads: ['reader', 'writer'],
  steps: stepsOf(
    ['reader', 'load', { location: 'flag', cell: 'ctl[0]', result: 0, at: 'bell.ts:20' }],
    ['writer', 'store', { location: 'word', cell: 'ctl[1]', before: 0, after: 1, at: 'bell.ts:31' }],
    ['writer', 'notify', { location: 'flag', cell: 'ctl[0]', result: 0, at: 'bell.ts:32', note: 'nobody sleeps yet' }],
    [
      'reader',
      'wait',
      { location: 'flag', cell: 'ctl[0]', before: 0, at: 'bell.ts:22', failed: true, note: 'sleeps for good' },
    ],
  ),
  stuck: [
    {
      thread: 'reader',
      waitsFor: 'a notify of flag, asleep since step 4',
      stack: [`at Bell.wait (${CWD}/src/bell.ts:22:13)`],
    },
  ],
  words: [{ name: 'flag', cell: 'ctl[0]' }],
});

const x = { location: 'x', cell: 'ctl[0]' };
const y = { location: 'y', cell: 'ctl[1]' };

export const storeBuffers = storyOf('check', {
  scenario: 'both enter',
  message: 'both are inside',
  memory: 'tso',
  executions: 9,
  preemptions: 0,
  threads: ['left', 'right'],
  steps: stepsOf(
    ['left', 'store', { ...x, after: 1, at: 'dekker.ts:5' }],
    ['left', 'load', { ...y, result: 0, at: 'dekker.ts:6' }],
    ['right', 'store', { ...y, after: 1, at: 'dekker.ts:5' }],
    ['right', 'load', { ...x, result: 0, at: 'dekker.ts:6' }],
    ['left', 'flush', { ...x, actor: 'flush', before: 0, after: 1 }],
    ['left', 'add', { location: 'inside', cell: 'ctl[2]', before: 0, after: 1, result: 0, at: 'dekker.ts:7' }],
    [
      'right',
      'load',
      { location: 'inside', cell: 'ctl[2]', result: 1, failed: true, at: 'dekker.ts:8', note: 'both are inside' },
    ],
  ),
  words: [
    { name: 'x', cell: 'ctl[0]' },
    { name: 'y', cell: 'ctl[1]' },
    { name: 'inside', cell: 'ctl[2]' },
  ],
});

export const race = storyOf('race', {
  scenario: 'publish without order',
  message: 'data[0] is written in step 1 and read in step 5, and nothing orders the two (portable only)',
  memory: 'portable',
  executions: 2,
  threads: ['writer', 'reader'],
  steps: stepsOf(
    [
      'writer',
      'store',
      {
        location: 'data[0]',
        cell: 'data[0]',
        before: 0,
        after: 42,
        failed: true,
        at: 'queue.ts:30',
        note: 'plain write',
      },
    ],
    ['writer', 'store', { location: 'ready', cell: 'ctl[0]', after: 1, at: 'queue.ts:31' }],
    ['writer', 'flush', { location: 'ready', cell: 'ctl[0]', actor: 'flush', before: 0, after: 1 }],
    ['reader', 'load', { location: 'ready', cell: 'ctl[0]', result: 1, at: 'queue.ts:40' }],
    [
      'reader',
      'load',
      {
        location: 'data[0]',
        cell: 'data[0]',
        result: 42,
        sees: 1,
        failed: true,
        at: 'queue.ts:41',
        note: 'plain read',
      },
    ],
  ),
  words: [{ name: 'ready', cell: 'ctl[0]' }],
});

const turn = { location: 'turn', cell: 'ctl[0]' };

export const fiveThreads = storyOf('livelock', {
  scenario: 'a token that nobody passes on',
  message: 'd looks at turn for ever',
  executions: 40,
  preemptions: 2,
  threads: ['a', 'b', 'c', 'd', 'e'],
  steps: stepsOf(
    ['a', 'spawn', { location: 'e', at: 'ring.ts:8' }],
    ['a', 'add', { ...turn, before: 0, after: 1, result: 0, at: 'ring.ts:12' }],
    ['b', 'add', { ...turn, before: 1, after: 2, result: 1, at: 'ring.ts:12' }],
    ['b', 'notify', { ...turn, result: 0, at: 'ring.ts:13' }],
    ['c', 'choose', { result: 1, at: 'ring.ts:20' }],
    ['c', 'note', { note: 'c keeps the token', at: 'ring.ts:21' }],
    ['d', 'load', { ...turn, result: 2, sees: 3, at: 'ring.ts:16' }],
    ['e', 'die', { at: 'ring.ts:12' }],
    [
      'd',
      'load',
      { ...turn, result: 2, sees: 3, failed: true, at: 'ring.ts:16', note: 'nothing it looks at changes any more' },
    ],
  ),
  stuck: [{ thread: 'd', waitsFor: 'turn to be other than 2', stack: [`at Ring.take (${CWD}/src/ring.ts:16:12)`] }],
  words: [{ name: 'turn', cell: 'ctl[0]' }],
});

export const folded = storyOf('check', {
  scenario: 'a reader that copies first',
  message: 'torn',
  executions: 5,
  preemptions: 1,
  threads: ['reader', 'writer'],
  steps: stepsOf(
    ['reader', 'load', { location: 'head', cell: 'ctl[0]', result: 0, at: 'log.ts:10' }],
    ['reader', 'store', { location: 'mine[0]', cell: 'mine[0]', before: 0, after: 5, at: 'log.ts:11' }],
    ['reader', 'store', { location: 'mine[1]', cell: 'mine[1]', before: 0, after: 6, at: 'log.ts:11' }],
    ['reader', 'load', { location: 'mine[0]', cell: 'mine[0]', result: 5, sees: 2, at: 'log.ts:12' }],
    ['writer', 'store', { location: 'head', cell: 'ctl[0]', before: 0, after: 1, at: 'log.ts:30' }],
    ['writer', 'store', { location: 'tail', cell: 'ctl[1]', before: 0, after: 1, at: 'log.ts:31' }],
    [
      'writer',
      'store',
      { location: 'tail', cell: 'ctl[1]', before: 1, after: 2, at: 'log.ts:31', note: 'the second time' },
    ],
    [
      'reader',
      'load',
      { location: 'head', cell: 'ctl[0]', result: 1, sees: 5, failed: true, at: 'log.ts:15', note: 'torn' },
    ],
  ),
});

/** Two threads that take turns on one word, 200 times. */
export const long = storyOf('check', {
  scenario: 'two hundred steps',
  message: 'too many',
  executions: 1_234_567,
  preemptions: 199,
  steps: stepsOf(
    ...Array.from({ length: 200 }, (_, i): [string, string, StepFields & { at: string }] => [
      i % 2 === 0 ? 'a' : 'b',
      'add',
      {
        ...turn,
        before: i,
        after: i + 1,
        result: i,
        at: `turn.ts:${i + 1}`,
        ...(i === 199 ? { failed: true, note: 'too many' } : {}),
      },
    ]),
  ),
});

export const empty = storyOf('unsupported', {
  scenario: 'module state',
  message: 'cache in src/cache.ts:3 cannot be saved: a WeakMap',
  threads: [],
});

/** A wake-up, a membarrier with its moments, a timer and a thread that is started: every arrow and helper there is. */
export const everything = storyOf('check', {
  scenario: 'close while a reader is inside',
  message: 'freed under a reader',
  memory: 'tso',
  executions: 88_412,
  preemptions: 2,
  threads: ['closer', 'reader', 'late'],
  steps: stepsOf(
    ['closer', 'spawn', { location: 'late', at: 'close.ts:3' }],
    ['reader', 'store', { location: 'inside', cell: 'ctl[1]', after: 1, at: 'rcu.ts:20' }],
    ['reader', 'load', { location: 'open', cell: 'ctl[0]', result: 1, at: 'rcu.ts:21' }],
    ['late', 'wait', { location: 'door', cell: 'ctl[2]', before: 0, at: 'late.ts:4' }],
    ['closer', 'store', { location: 'open', cell: 'ctl[0]', before: 1, after: 0, at: 'close.ts:5' }],
    ['closer', 'notify', { location: 'door', cell: 'ctl[2]', result: 1, at: 'close.ts:6' }],
    ['closer', 'membarrier', { at: 'close.ts:7' }],
    ['late', 'membarrier', { actor: 'membarrier' }],
    ['reader', 'flush', { location: 'inside', cell: 'ctl[1]', actor: 'flush', before: 0, after: 1 }],
    ['reader', 'membarrier', { actor: 'membarrier' }],
    ['late', 'wake', { location: 'door', cell: 'ctl[2]', result: 'ok', at: 'late.ts:4' }],
    ['late', 'load', { location: 'open', cell: 'ctl[0]', result: 0, sees: 5, at: 'late.ts:5' }],
    [
      'closer',
      'load',
      {
        location: 'inside',
        cell: 'ctl[1]',
        result: 1,
        sees: 9,
        at: 'close.ts:9',
        note: 'seen inside, and closed all the same',
      },
    ],
    ['closer', 'store', { location: 'freed', cell: 'ctl[3]', before: 0, after: 1, at: 'close.ts:11' }],
    [
      'reader',
      'load',
      { location: 'freed', cell: 'ctl[3]', result: 1, failed: true, at: 'rcu.ts:30', note: 'freed under a reader' },
    ],
  ),
  words: [
    { name: 'open', cell: 'ctl[0]' },
    { name: 'inside', cell: 'ctl[1]' },
    { name: 'door', cell: 'ctl[2]' },
    { name: 'freed', cell: 'ctl[3]' },
  ],
});

/** Names and notes as nasty as a checked program can make them. */
export const hostile = storyOf('check', {
  scenario: '</title><script>alert(1)</script> & "quotes"; style: x #1; %% end',
  message: '<img src=x onerror=alert(2)>\u001b[31mred\u0007 \u202eright to left',
  threads: ['a<b>', 'end'],
  steps: stepsOf(
    [
      'a<b>',
      'store',
      {
        location: '<script>alert(3)</script>',
        cell: 'ctl[0]',
        before: 0,
        after: 1,
        at: "x'><svg onload=alert(4)>.ts:1",
      },
    ],
    [
      'end',
      'load',
      {
        location: 'style: 名前#;',
        cell: 'ctl[0]',
        result: '</script><b>',
        failed: true,
        note: 'classDef ]]> {} ; # -->\nloop',
      },
    ],
  ),
  stuck: [{ thread: 'end', waitsFor: '</pre><script>alert(5)</script>', stack: ['at <anonymous>'] }],
  words: [{ name: '<i>', cell: 'ctl[0]' }],
  replay: 'x1:"><script>',
});

export const report: Report = {
  scenario: 'kill, get, put',
  memory: 'sc',
  executions: 31_526,
  traces: 31_526,
  blocked: 0,
  redundant: 0,
  deepest: 24,
  finals: 4,
  exhaustive: true,
  bound: '3 users, one operation each',
  ms: 105,
  sites: [],
  crashPoints: 0,
  timeouts: 0,
  steps: 4711,
  notes: [],
};

export const all = {
  useAfterUnmap,
  deadlock,
  lostWakeup,
  storeBuffers,
  race,
  fiveThreads,
  folded,
  long,
  empty,
  everything,
  hostile,
};

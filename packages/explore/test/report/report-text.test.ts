import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressLine, reportText } from '../../src/report/report-text.ts';
import { report } from './stories.ts';

test('reportText: a finished search says what holds, and within which bounds', () => {
  assert.equal(
    reportText(report),
    `holds: 31,526 traces (31,526 executions, 24 steps at most, 4 final states, 105 ms), bound: 3 users, one operation each
  scenario "kill, get, put", memory: sc`,
  );
});

test('reportText: an unfinished search never says that anything holds', () => {
  const text = reportText({
    ...report,
    exhaustive: false,
    bound: 'all schedules up to 2 preemptions',
    ms: 60_012,
    redundant: 3,
    blocked: 2,
  });
  assert.equal(
    text,
    `no failure in 31,526 executions, not all were looked at; covered: all schedules up to 2 preemptions (2 blocked, 3 redundant, 24 steps at most, 4 final states, 60 s)
  scenario "kill, get, put", memory: sc`,
  );
  assert.doesNotMatch(text, /holds|proof|proved/);
});

test('reportText: nothing looked at is nothing proved', () => {
  assert.doesNotMatch(reportText({ ...report, executions: 0, traces: 0 }), /holds/);
});

test('reportText: what never happened, timeouts, crash points and notes', () => {
  const text = reportText({
    ...report,
    sites: ['the compare-and-swap at ref.ts:41 never failed', 'the wait at ref.ts:88 never slept'],
    timeouts: 1,
    crashPoints: 6,
    notes: ['code was loaded without the transform: unmarked plain accesses were not seen', 'module state of x.ts'],
  });
  assert.equal(
    text,
    `holds: 31,526 traces (31,526 executions, 24 steps at most, 4 final states, 6 crash points, 105 ms), bound: 3 users, one operation each \
[code was loaded without the transform: unmarked plain accesses were not seen]
  scenario "kill, get, put", memory: sc
  never happened: the compare-and-swap at ref.ts:41 never failed
  never happened: the wait at ref.ts:88 never slept
  only a timeout let 1 execution go on: a lost wake-up may hide behind it (timeouts: 'never' shows it)
  note: module state of x.ts`,
  );
});

test('progressLine: one line, always as wide', () => {
  const line = progressLine({ phase: 'exhaustive', executions: 123_456, perSecond: 301_000, depth: 24, ms: 12_300 });
  assert.equal(line, 'exhaustive      123,456 executions    301,000/s  depth    24     12.3 s');
  const first = progressLine({ phase: 'quick', executions: 0, perSecond: Number.NaN, depth: 0, ms: 0 });
  assert.equal(first.length, line.length);
  assert.ok(line.length <= 80);
});

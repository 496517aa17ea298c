/** Groups: the table of outcomes, selection by id, and nesting. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { type Bench, bench, codeOf } from './bench.ts';

/** Builds a list from `1 <100 2 >100`: numbers are resources, `<n` opens group n, `>n` closes it. */
function build(text: string): Bench {
  const made = bench({ allowOverlap: true });
  for (const word of text.split(' ')) {
    if (word.startsWith('<')) made.device.openGroup(word.slice(1));
    else if (word.startsWith('>')) made.device.closeGroup(word.slice(1));
    else made.device.add(made.device.alloc(made.note, Number(word)));
  }
  return made;
}

const TABLE: { list: string; release: (string | undefined)[]; order: number[]; after: string }[] = [
  { list: '1 <100 2 <200 3 >200 4 >100 5', release: ['100'], order: [4, 3, 2], after: '1 5' },
  { list: '<100 1 <200 2 >100 3 >200', release: ['100'], order: [2, 1], after: '<200 3 >200' },
  { list: '<100 1 <200 2 >100 3 >200', release: ['200'], order: [3, 2], after: '<100 1 >100' },
  { list: '<100 1 <200 2 >100 3', release: ['100'], order: [2, 1], after: '3' },
  { list: '<100 1 <200 2 >100 3', release: ['200'], order: [3, 2], after: '<100 1 >100' },
  { list: '<100 1 <200 2 >200 3', release: [undefined], order: [3, 2, 1], after: '' },
  { list: '<7 1 >7 <7 2 >7', release: ['7', '7'], order: [2, 1], after: '' },
];

for (const { list: before, release, order, after } of TABLE) {
  test(`D17: ${before}, release ${release.join(' and ') || 'the open one'}: runs ${order.join(' ')}, leaves ${after || 'nothing'}`, () => {
    const { device, log, list, warnings } = build(before);
    const released = release.map((id) => device.releaseGroupSync(id)).reduce((sum, count) => sum + count);
    assert.deepEqual(log, order);
    assert.equal(released, order.length);
    assert.equal(list().join(' '), after);
    assert.deepEqual(warnings, []);
  });
}

test('D17: an open group that was swallowed is gone: releasing it is reported', () => {
  const { device, warnings } = build('<100 1 <200 2 >100 3');
  device.releaseGroupSync('100');
  assert.equal(device.releaseGroupSync('200'), 0);
  assert.deepEqual(warnings, ['releaseGroupSync']);
});

test('D17: removing the open group leaves what is in it, and release-all sees no groups', () => {
  const { device, list } = build('<100 1 <200 2 >200');
  assert.equal(device.removeGroup(), true);
  assert.equal(list().join(' '), '1 <200 2 >200');
  const all = build('1 <100 2 >100 3 <200');
  assert.equal(all.device.releaseAllSync(), 3);
  assert.deepEqual([all.log, all.list()], [[3, 2, 1], []]);
});

test('D18: without an id, close takes the newest open group and skips newer closed ones', () => {
  const { device, list } = build('<1 10 <2 20 >2 30');
  assert.equal(device.closeGroup(), true);
  assert.equal(list().join(' '), '<1 10 <2 20 >2 30 >1');
});

test('D18: closing a closed group by its id is refused, and nothing changes', () => {
  const { device, list, warnings } = build('<1 10 >1 20');
  assert.equal(
    codeOf(() => device.closeGroup('1')),
    'EALREADY',
  );
  assert.deepEqual([list().join(' '), warnings], ['<1 10 >1 20', []]);
});

test('D18: closing or removing an absent group is reported', () => {
  const { device, warnings, list } = build('<1 10 >1');
  assert.equal(device.closeGroup(), false);
  assert.equal(device.closeGroup('2'), false);
  assert.equal(device.removeGroup(), false);
  assert.equal(device.removeGroup('2'), false);
  assert.deepEqual(warnings, ['closeGroup', 'closeGroup', 'removeGroup', 'removeGroup']);
  assert.equal(list().join(' '), '<1 10 >1');
});

test('D19: removing a group keeps its resources, in their order', () => {
  const { device, list, log } = build('1 <a 2 <b 3 >b 4 >a 5');
  device.removeGroup('a');
  assert.equal(list().join(' '), '1 2 <b 3 >b 4 5');
  device.removeGroup('b');
  assert.deepEqual([list(), log], [[1, 2, 3, 4, 5], []]);
});

test('D20: the markers of a released range are gone before the first callback runs', () => {
  const { device, list, note } = bench();
  const seen: unknown[] = [];
  device.addAction(note, 'outside');
  device.openGroup('a');
  device.addAction(note, 'inside');
  device.openGroup('b');
  device.addAction(() => seen.push(list()));
  device.closeGroup();
  device.closeGroup();
  assert.equal(device.releaseGroupSync('a'), 2);
  assert.deepEqual(seen, [['outside']]);
});

test('D21: releasing an unknown group gives 0 and a diagnostic, but is silent on an empty device', async () => {
  const { device, warnings, note, list } = bench();
  assert.equal(device.releaseGroupSync('g'), 0);
  assert.equal(await device.releaseGroup(), 0);
  assert.deepEqual(warnings, []);
  device.addAction(note, 1);
  assert.equal(device.releaseGroupSync('g'), 0);
  assert.equal(await device.releaseGroup(), 0);
  assert.deepEqual([warnings, list()], [['releaseGroupSync', 'releaseGroup'], [1]]);
});

test('D29: closing a group while one inside it is open is refused, and nothing changes', () => {
  const { device, list, note } = bench();
  device.openGroup('a');
  device.addAction(note, 1);
  device.openGroup('b');
  assert.equal(
    codeOf(() => device.closeGroup('a')),
    'EBUSY',
  );
  assert.deepEqual(list(), ['<a', 1, '<b']);
  device.closeGroup('b');
  device.closeGroup('a');
  assert.deepEqual(list(), ['<a', 1, '<b', '>b', '>a']);
});

test('D29: the inner group may instead be removed or released', () => {
  for (const settle of ['removeGroup', 'releaseGroupSync'] as const) {
    const { device, list } = bench();
    device.openGroup('a');
    device.openGroup('b');
    device[settle]('b');
    device.closeGroup('a');
    assert.deepEqual(list(), ['<a', '>a']);
  }
});

test('an opened group without an id gets one that no other has', () => {
  const { device, list } = bench();
  const first = device.openGroup();
  const second = device.openGroup(null);
  assert.notEqual(first, second);
  device.removeGroup(first);
  assert.equal(list().length, 1);
  assert.equal(device.openGroup(0), 0);
  assert.equal(device.removeGroup(0), true);
});

test('a set-up that fails half-way is undone through its group, and nothing else is', async () => {
  const { device, log, note, list } = bench();
  device.addAction(note, 'before');
  const setUp = async () => {
    const group = device.openGroup();
    try {
      device.addAction(note, 'map');
      device.addAction(note, 'pool');
      throw new Error('no memory for the third');
    } catch (error) {
      await device.releaseGroup(group);
      throw error;
    }
  };
  await assert.rejects(setUp(), /third/);
  assert.deepEqual([log, list()], [['pool', 'map'], ['before']]);
});

import assert from 'node:assert/strict';
import { createHash, randomFillSync } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type TakeBackOptions, takeBack } from '../../src/cli/demo/take-back.ts';
import { listRegions, Region } from '../../src/index.ts';
import { real, temporaryDirectory, until } from '../mem/support.ts';
import { childrenOf, holdfast, isRunning } from './support.ts';

/** A file of noise. */
function noise(t: TestContext, bytes: number): { file: string; content: Uint8Array; sha256: string } {
  const content = randomFillSync(new Uint8Array(bytes));
  const file = join(temporaryDirectory(t), 'noise');
  writeFileSync(file, content);
  return { file, content, sha256: createHash('sha256').update(content).digest('hex') };
}

/** The region of a demo has no name: what could be left of it is a memfd of this process or a file of the v5.1 order. */
function leftovers(): string[] {
  const memfds = readdirSync('/proc/self/fd').length;
  return [String(memfds), ...readdirSync('/dev/shm').filter((name) => name.includes('demo'))];
}

test(
  'demo hashes a real file with processes and threads, loses one, and takes the memory back in order',
  real,
  async (t) => {
    const { file, content, sha256 } = noise(t, 3_000_001);
    const { code, stdout, stderr } = await holdfast(['demo', file, '--json']);
    assert.equal(stderr, '');
    assert.equal(code, 0, stdout);
    const result = JSON.parse(stdout);
    assert.equal(result.ok, true);
    assert.equal(result.file, file);
    assert.equal(result.bytes, content.length);
    assert.equal(result.sha256, sha256);
    assert.equal(result.expected, sha256);
    assert.equal(result.wrongBlocks, 0);
    const { killed, drained, cleaned, gone } = result.phases;
    assert.ok(0 <= killed && killed <= drained && drained <= cleaned && cleaned <= gone, JSON.stringify(result.phases));

    assert.equal(result.reaped.length, 1);
    const [victim] = result.reaped;
    assert.equal(victim.title, 'process 1');
    assert.equal(isRunning(victim.pid), false);
    const holders = result.stragglers as { pid: number; threadId: number; title: string; pages: number }[];
    assert.ok(
      holders.some(({ pid, pages }) => pid === victim.pid && pages > 0),
      'the victim died holding',
    );
    assert.ok(
      holders.some(({ pid, threadId }) => pid !== victim.pid && threadId === 0),
      'another process held',
    );
    assert.ok(
      holders.some(({ title, threadId }) => title === 'reader' && threadId > 0),
      'a thread held',
    );
    assert.equal(result.refused, 5);
    assert.equal(result.zeros, 5);
    assert.ok(result.takenOver > 0);
    assert.deepEqual(readFileSync(file), Buffer.from(content), 'the file is as it was');
  },
);

test('demo tells the same to people', real, async (t) => {
  const { file, sha256 } = noise(t, 100_000);
  const { code, stdout } = await holdfast(['demo', file, '--processes', '2', '--threads', '1', '--block', '8KiB']);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /97\.7KiB in 13 blocks of 8KiB, 2 processes, 1 thread\n/);
  assert.match(stdout, /^ +\d+ ms {2}25 pages held 75 times, by 3 participants$/m);
  const events = [...stdout.matchAll(/^ +\d+ ms {2}(\w+)/gm)].map(([, word]) => word);
  assert.deepEqual(
    events.filter((word) => word !== 'SIGKILL'),
    ['25', 'the', 'killed', 'drained', 'cleaned', 'gone'],
  );
  assert.equal(events.indexOf('SIGKILL'), 3);
  assert.match(stdout, /^Reaped +process 1 \(pid \d+\); \d+ blocks? of its share taken over$/m);
  assert.equal(stdout.split(sha256).length, 3, 'both hashes are shown');
  assert.match(stdout, /\nOK\n$/);
});

test('demo works for a file of one byte', real, async (t) => {
  const { file, sha256 } = noise(t, 1);
  const { code, stdout } = await holdfast(['demo', file, '--json']);
  assert.equal(code, 0, stdout);
  const result = JSON.parse(stdout);
  assert.deepEqual(
    {
      ok: result.ok,
      sha256: result.sha256,
      blocks: result.blocks,
      stragglers: result.stragglers.length,
      reaped: result.reaped.length,
    },
    { ok: true, sha256, blocks: 1, stragglers: 3, reaped: 1 },
  );
});

test('demo refuses what it cannot map, with one line', real, async (t) => {
  const directory = temporaryDirectory(t);
  const empty = join(directory, 'empty');
  writeFileSync(empty, '');
  const wrong: [args: string[], line: RegExp][] = [
    [[empty], /empty.* \[EINVAL\]/],
    [[join(directory, 'none')], /\[ENOENT\]/],
    [[directory], /a directory.* \[EINVAL\]/],
  ];
  for (const [args, line] of wrong) {
    const { code, stdout, stderr } = await holdfast(['demo', ...args]);
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, line);
    assert.equal(stderr.split('\n').length, 2);
  }
});

test('demo that is interrupted ends its processes', real, async () => {
  let pid = 0;
  let children: number[] = [];
  const running = holdfast(['demo', '--json'], {
    onStart: (child) => {
      pid = child.pid!;
    },
  });
  await until(() => {
    children = childrenOf(pid);
    return children.length === 4;
  }, 'the demo had started its processes');
  process.kill(pid, 'SIGINT');
  const { code, stdout } = await running;
  assert.equal(code, 130);
  assert.equal(JSON.parse(stdout).error.code, 'ABORT_ERR');
  assert.deepEqual(children.filter(isRunning), []);
});

function options(file: string, onProgress?: TakeBackOptions['onProgress']): TakeBackOptions {
  const { signal } = new AbortController();
  return { file, processes: 2, threads: 1, signal, ...(onProgress && { onProgress }) };
}

test('takeBack() notices a file whose content is not what was mapped', real, async (t) => {
  const { file, content } = noise(t, 50_000);
  const result = await takeBack(
    options(file, (part) => {
      if (part === 1) writeFileSync(file, content.with(20_000, content[20_000]! ^ 1));
    }),
  );
  assert.deepEqual({ ok: result.ok, wrongBlocks: result.wrongBlocks }, { ok: false, wrongBlocks: 1 });
  assert.notEqual(result.sha256, result.expected);
});

test('takeBack() whose member dies out of turn fails, and leaves nothing behind', real, async (t) => {
  const { file } = noise(t, 2_000_000);
  const before = leftovers();
  let children: number[] = [];
  const running = takeBack(
    options(file, (part) => {
      if (part === 0 || children.length > 0) return;
      children = childrenOf(process.pid).sort((a, b) => a - b);
      process.kill(children[1]!, 'SIGKILL');
    }),
  );
  await assert.rejects(running, { code: 'ERR_HOLDFAST_MEMBER_ENDED', message: /^process 2 ended .* \(SIGKILL\)$/ });
  assert.deepEqual(children.filter(isRunning), []);
  assert.deepEqual(leftovers(), before);
});

test('takeBack() whose region somebody else destroys fails, and leaves nothing behind', real, async (t) => {
  const { file } = noise(t, 2_000_000);
  const before = leftovers();
  let other: Promise<unknown> | undefined;
  const running = takeBack(
    options(file, (part) => {
      if (part === 0 || other !== undefined) return;
      const { path } = listRegions().find(({ backing, sizeBytes }) => backing === 'file' && sizeBytes === 2_000_000)!;
      const region = Region.attach(path);
      other = region.destroy({ timeoutMs: 1000 }).catch(() => region.detach());
    }),
  );
  await assert.rejects(running, { code: 'EALREADY' });
  await other;
  assert.deepEqual(leftovers(), before);
});

test('demo --order v5.1 crashes and corrupts holders; holdfast does not', real, async () => {
  const before = leftovers();
  const { code, stdout } = await holdfast(['demo', '--order', 'v5.1', '--json']);
  assert.equal(code, 0, stdout);
  const half = 2 ** 19;
  assert.deepEqual(JSON.parse(stdout), {
    ok: true,
    orders: {
      'v5.1': {
        steps: ['kill', 'put', 'remove', 'wait'],
        truncate: { signal: 'SIGBUS', exitCode: null, holderForeignBytes: null, ownerForeignBytes: null },
        reuse: { signal: null, exitCode: 0, holderForeignBytes: half, ownerForeignBytes: half },
      },
      holdfast: {
        steps: ['kill', 'put', 'wait', 'cleanup', 'remove'],
        truncate: { signal: null, exitCode: 0, holderForeignBytes: 0, ownerForeignBytes: null },
        reuse: { signal: null, exitCode: 0, holderForeignBytes: 0, ownerForeignBytes: 0 },
      },
    },
  });
  assert.deepEqual(leftovers(), before);
});

test('demo --order v5.1 shows the two orders side by side', real, async () => {
  const { code, stdout } = await holdfast(['demo', '--order', 'v5.1']);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /v5\.1: remove, then wait +holdfast: wait, then remove\n/);
  assert.match(stdout, /^truncated when removed +holder killed by SIGBUS +holder finished, exit code 0$/m);
  assert.match(stdout, /^ {2}new owner found +524288 foreign bytes +0 foreign bytes$/m);
  assert.match(stdout, /\nOK\n$/);
});

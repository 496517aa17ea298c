import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { DRAINS, GracePeriod, PercpuRef, Sections, systemBarrier, wait } from '../../src/kernel.ts';
import { getSys } from '../../src/sys/index.ts';

const kernel = new URL('../../src/kernel.js', import.meta.url).href;

test('systemBarrier() is there exactly where the system has one, and can be called at once', () => {
  const barrier = systemBarrier();
  assert.equal(barrier !== undefined, getSys()?.barrierScopes.machine === true);
  barrier?.();
  systemBarrier()?.();
});

test('systemBarrier() is undefined without system calls', () => {
  const script = `const { systemBarrier } = await import('${kernel}'); process.stdout.write(typeof systemBarrier());`;
  const env = { ...process.env, HOLDFAST_NO_FFI: '1' };
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { env, encoding: 'utf8' });
  assert.equal(stdout, 'undefined');
});

test('what docs/rcu.md and docs/percpu-ref.md show runs with nothing but the kernel exports', () => {
  const slots = 8;
  const barrier = systemBarrier();
  const lines = new Int32Array(new SharedArrayBuffer(4 * Sections.wordsFor(slots)));
  const sections = new Sections(lines, 0, slots, barrier);
  sections.enter(3);
  const grace = sections.grace();
  assert.ok(grace instanceof GracePeriod);
  assert.equal(grace.poll(), false);
  sections.leave(3);
  assert.equal(grace.poll(), true);

  const words = new Int32Array(new SharedArrayBuffer(4 * PercpuRef.wordsFor(slots)));
  let released = 0;
  const ref = PercpuRef.init(words, 0, slots, 0, { release: () => released++, barrier });
  ref.get(3);
  const seen = Atomics.load(ref.head, DRAINS);
  assert.equal(wait(ref.head, DRAINS, seen, 1), 'timed-out');
  ref.kill();
  ref.put(3);
  assert.equal(wait(ref.head, DRAINS, seen, 1000), 'not-equal');
  assert.equal(released, 1);
});

// Whatever is given to a region, it answers with an error that has a code, and nothing is lost or half done after it.
import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { type CreateOptions, type Handle, HoldfastError, Region } from '../../src/index.ts';
import { real } from '../mem/support.ts';

const dir = mkdtempSync(join(tmpdir(), 'holdfast-bad-'));
after(() => rmSync(dir, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(dir, `file-${count++}`);
const heap = (options: Partial<CreateOptions> = {}): Region =>
  Region.create({ size: '64KiB', backing: 'heap', ...options });

/** Every error is one of ours, with a code and a sentence that says more than the code. */
function refuses(run: () => unknown, code: string, saying: RegExp = /./): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof HoldfastError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.length > 20);
    assert.match(error.message, saying);
    return true;
  });
}

describe('region files', real, () => {
  const good = fresh();
  Region.create({ size: '1MiB', path: good }).detach();
  const damaged = (damage: (path: string) => void): string => {
    const path = fresh();
    copyFileSync(good, path);
    damage(path);
    return path;
  };
  const poke = (path: string, word: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    writeSync(openSync(path, 'r+'), bytes, 0, 4, word * 4);
  };

  test('a good copy opens', () => {
    using region = Region.attach(damaged(() => {}));
    assert.equal(region.freeBytes, 2 ** 20);
  });

  test('truncated: in the header, in the control block, in the data', () => {
    refuses(() => Region.attach(damaged((path) => truncateSync(path, 100))), 'ERR_HOLDFAST_FOREIGN');
    refuses(() => Region.attach(damaged((path) => truncateSync(path, 8192))), 'ERR_HOLDFAST_CORRUPT', /cut off/);
    refuses(
      () => Region.attach(damaged((path) => truncateSync(path, readFileSync(good).length - 1))),
      'ERR_HOLDFAST_CORRUPT',
      /cut off/,
    );
    refuses(() => Region.attach(damaged((path) => truncateSync(path, 0))), 'EINVAL');
  });

  test('foreign: text, zeros, random bytes', () => {
    for (const content of [
      Buffer.from('#!/bin/sh\n'.repeat(1000)),
      Buffer.alloc(1 << 16),
      Buffer.alloc(1 << 16, 0xa7),
    ]) {
      const path = fresh();
      writeFileSync(path, content);
      refuses(() => Region.attach(path), 'ERR_HOLDFAST_FOREIGN', /no holdfast region/);
    }
  });

  test('another version says both versions', () => {
    refuses(() => Region.attach(damaged((path) => poke(path, 2, 99))), 'ERR_HOLDFAST_VERSION', /99.*2/);
  });

  test('one flipped bit anywhere in the fixed words is noticed', () => {
    const words = new Int32Array(readFileSync(good).buffer.slice(0, 4096));
    for (let word = 3; word < 64; word++) {
      refuses(
        () => Region.attach(damaged((path) => poke(path, word, words[word]! ^ (1 << (word % 31))))),
        'ERR_HOLDFAST_CORRUPT',
      );
    }
  });

  test('random damage in the rest: refused or opened, never a crash', () => {
    const length = readFileSync(good).length - 2 ** 20;
    let dice = 7;
    for (let round = 0; round < 60; round++) {
      const path = damaged((copy) => {
        for (let i = 0; i < 20; i++) {
          dice = (Math.imul(dice, 1103515245) + 12345) & 0x7fffffff;
          poke(copy, 64 + (dice % (length / 4 - 64)), Math.imul(dice, 2654435761) | 0);
        }
      });
      try {
        using region = Region.attach(path);
        region.holders();
        region.alloc(4096).put();
      } catch (error) {
        assert.ok(error instanceof HoldfastError, String(error));
      }
    }
  });

  test('missing, a directory, the wrong name, a name that is taken', () => {
    refuses(() => Region.attach(fresh()), 'ENOENT');
    refuses(() => Region.attach(dir), 'EINVAL');
    refuses(() => Region.attach('../../etc/passwd\0'), 'EINVAL');
    refuses(() => Region.attach('no such name!'), 'EINVAL');
    refuses(() => Region.create({ size: 4096, path: good }), 'EEXIST');
    refuses(() => Region.create({ size: 4096, path: join(dir, 'no', 'such', 'folder') }), 'ENOENT');
    const name = `bad-${process.pid}`;
    using first = Region.create({ size: 4096, name });
    refuses(() => Region.create({ size: 4096, name }), 'EEXIST');
    rmSync(first.path!);
  });

  test('no permission; a read-only file opened for writing', {
    skip: process.geteuid?.() !== 0 && 'needs root, to become nobody',
  }, () => {
    const secret = fresh();
    writeFileSync(secret, 'secret', { mode: 0o600 });
    const readable = fresh();
    writeFileSync(readable, 'readable', { mode: 0o444 });
    chmodSync(dir, 0o755);
    process.seteuid!(65534);
    try {
      refuses(() => Region.open(secret), 'EACCES');
      refuses(() => Region.open(readable, { mode: 'write' }), 'EACCES');
      refuses(() => Region.attach(good), 'EACCES');
      using region = Region.open(readable);
      assert.equal(region.size, 8);
    } finally {
      process.seteuid!(0);
    }
  });

  test('a file over which there is nothing to show', () => {
    const empty = fresh();
    writeFileSync(empty, '');
    refuses(() => Region.open(empty), 'EINVAL');
    refuses(() => Region.open(fresh()), 'ENOENT');
    refuses(() => Region.open('/dev/null'), 'EINVAL');
    mkdirSync(join(dir, 'folder'));
    refuses(() => Region.open(join(dir, 'folder')), 'EINVAL');
    refuses(() => Region.open(good, { mode: 'both' as 'read' }), 'EINVAL');
    refuses(() => Region.open(good, { blockSize: '3MiB' }), 'EINVAL');
  });

  test('a file that was cut after a region was made over it', () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(100_000));
    using region = Region.open(path);
    truncateSync(path, 50_000);
    refuses(() => Region.attach(region.path!), 'ERR_HOLDFAST_CORRUPT', /cut/);
  });

  test('a file that was replaced by another after a region was made over it', () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(10_000, 1));
    using region = Region.open(path);
    const next = fresh();
    writeFileSync(next, Buffer.alloc(10_000, 2));
    renameSync(next, path);
    refuses(() => Region.attach(region.path!), 'ESTALE', /replaced/);
  });

  test('more than there is', () => {
    refuses(() => Region.create({ size: '1000TiB', name: `big-${process.pid}` }), 'EINVAL');
    refuses(() => Region.create({ size: '300GiB', backing: 'memfd' }), 'ENOMEM');
  });
});

describe('arguments', () => {
  test('sizes: 0, negative, NaN, 2^53, fractions, texts that are no sizes, other types', () => {
    using region = heap();
    for (const size of [
      0,
      -1,
      Number.NaN,
      2 ** 53,
      1.5,
      Number.POSITIVE_INFINITY,
      '',
      '0',
      '-4KiB',
      '4 parsecs',
      null,
      undefined,
      {},
      4096n,
    ]) {
      refuses(() => region.alloc(size as number), 'EINVAL');
      refuses(() => Region.create({ size: size as number, backing: 'heap' }), 'EINVAL');
    }
    assert.equal(region.freeBytes, region.size);
  });

  test('options of create', () => {
    const bad: [Partial<CreateOptions>, RegExp][] = [
      [{ participants: 0 }, /32 to 256/],
      [{ participants: 33 }, /32 to 256/],
      [{ participants: 512 }, /32 to 256/],
      [{ maps: 0 }, /maps/],
      [{ pageSize: 100 }, /page size/],
      [{ pageSize: 12288 }, /page size/],
      [{ backing: 'floppy' as 'heap' }, /backing/],
      [{ backing: 'shm' }, /name/],
      [{ backing: 'file' }, /path/],
    ];
    for (const [options, saying] of bad) refuses(() => heap(options), 'EINVAL', saying);
  });

  test('a misspelt option, or one of the wrong type, is refused by name', async () => {
    refuses(() => heap({ sise: 1 } as object), 'EINVAL', /no option "sise"/);
    refuses(() => heap({ title: 5 } as object), 'EINVAL', /"title"/);
    refuses(() => Region.create(undefined as unknown as CreateOptions), 'EINVAL');
    refuses(() => Region.create({ size: 4096, backing: 'heap', name: 'x' }), 'EINVAL', /name/);
    refuses(() => Region.create({ size: 4096, path: fresh(), name: 'x' }), 'EINVAL', /name/);
    refuses(() => Region.create({ size: 4096, backing: 'shm', name: 'x', path: fresh() }), 'EINVAL', /path/);
    using region = heap();
    await assert.rejects(region.destroy({ timeout: 5 } as object), { code: 'EINVAL' });
    assert.equal(region.state, 'live');
  });

  test('attach wants a ticket, a name or a path', () => {
    for (const value of [undefined, null, 5, {}, [], { holdfast: 'ticket' }]) {
      refuses(() => Region.attach(value as unknown as string), 'EINVAL');
    }
  });

  test('options of destroy', async () => {
    using region = heap();
    for (const options of [{ timeoutMs: -1 }, { timeoutMs: Number.NaN }, { timeoutMs: 'soon' }, { signal: {} }]) {
      await assert.rejects(region.destroy(options as object), { code: 'EINVAL' });
    }
    assert.equal(region.state, 'live');
  });
});

describe('tickets', real, () => {
  test('one that went through JSON says what to do instead', () => {
    using region = Region.create({ size: 4096 });
    refuses(() => Region.attach(JSON.parse(JSON.stringify(region.ticket()))), 'EINVAL', /region\.path/);
  });

  test('a stale one, whose name leads to another file by now, is refused, and that file is untouched', () => {
    const path = fresh();
    const region = Region.create({ size: 4096, path });
    const ticket = region.ticket();
    region.detach();
    rmSync(path);
    const victim = Buffer.alloc(100_000, 65);
    writeFileSync(path, victim);
    refuses(() => Region.attach(ticket), 'ESTALE', /stale/);
    assert.ok(readFileSync(path).equals(victim));
    rmSync(path);
    Region.create({ size: 4096, path }).detach();
    refuses(() => Region.attach(ticket), 'ESTALE', /stale/);
  });
});

describe('handles', () => {
  test('stale, forged, of another region, and what is no handle', () => {
    using region = heap();
    const old = region.alloc(8192);
    const { handle } = old;
    old.put();
    refuses(() => region.hold(handle), 'ESTALE');
    using _reused = region.alloc(8192);
    refuses(() => region.hold(handle), 'ESTALE');
    using other = heap();
    using foreign = other.alloc(1);
    refuses(() => region.hold(foreign.handle), 'ESTALE', /region/);
    const forged: [Partial<Handle>, string][] = [
      [{ page: 1 }, 'ESTALE'],
      [{ page: 16 }, 'EFAULT'],
      [{ page: 2 ** 31 }, 'EFAULT'],
      [{ page: -1 }, 'EINVAL'],
      [{ page: 0.5 }, 'EINVAL'],
      [{ page: Number.NaN }, 'EINVAL'],
      [{ generation: 2 ** 32 }, 'EINVAL'],
      [{ generation: 77 }, 'ESTALE'],
    ];
    for (const [change, code] of forged) refuses(() => region.hold({ ...handle, ...change }), code);
    for (const value of [undefined, null, 0, 'h', [], {}])
      refuses(() => region.hold(value as unknown as Handle), 'EINVAL');
    assert.equal(region.holders()[0]!.blocks, 1, 'nothing was touched');
  });

  test('a full pool: ENOMEM, and all of it is there after the holds are put', () => {
    using region = heap();
    const holds = Array.from({ length: 16 }, () => region.alloc(4096));
    refuses(() => region.alloc(1), 'ENOMEM', /no room/);
    refuses(() => region.alloc('1GiB'), 'ENOMEM');
    for (const hold of holds) hold.put();
    region.alloc('64KiB').put();
  });

  test('double put is refused, double dispose is harmless, use after put is refused by name', () => {
    using region = heap();
    const hold = region.alloc(1);
    hold.put();
    refuses(() => hold.put(), 'EINVAL', /put before/);
    refuses(() => hold.bytes, 'EINVAL', /was put/);
    hold[Symbol.dispose]();
    hold[Symbol.dispose]();
    assert.equal(hold.isHeld, false);
    assert.equal(region.freeBytes, region.size);
  });
});

describe('life', () => {
  test('X21: destroy while this thread holds a page: EDEADLK at once, and the region lives on', async () => {
    using region = heap();
    const hold = region.alloc(4096 * 3);
    await assert.rejects(region.destroy(), (error) => {
      assert.ok(error instanceof HoldfastError);
      assert.equal(error.code, 'EDEADLK');
      assert.equal((error.holders as { pages: number }[])[0]!.pages, 3);
      return true;
    });
    refuses(() => region.destroySync(), 'EDEADLK');
    assert.equal(region.state, 'live');
    region.alloc(1).put();
    hold.put();
    await region.destroy();
  });

  test('destroy twice: the second is told; so is every other use', async () => {
    const region = heap();
    const other = Region.attach(region.ticket());
    const hold = other.alloc(1);
    const first = region.destroy();
    await assert.rejects(region.destroy(), { code: 'EALREADY' });
    hold.put();
    await first;
    await assert.rejects(region.destroy(), { code: 'ENODEV' });
    refuses(() => region.alloc(1), 'ENODEV');
    refuses(() => region.blocks(), 'ENODEV');
    refuses(() => region.ticket(), 'ENODEV');
    refuses(() => region.resurrect(), 'ENODEV');
    region.detach();
  });

  test('alloc and hold after the kill: ENODEV; resurrect of what lives: EINVAL', async () => {
    using region = heap();
    refuses(() => region.resurrect(), 'EINVAL');
    using other = Region.attach(region.ticket());
    const hold = other.alloc(1);
    await assert.rejects(region.destroy({ timeoutMs: 0 }), { code: 'EBUSY' });
    for (const one of [region, other]) {
      refuses(() => one.alloc(1), 'ENODEV');
      refuses(() => one.hold(hold.handle), 'ENODEV');
    }
    hold.put();
    await region.destroy();
    await assert.rejects(async () => Region.attach(region.ticket()), { code: 'ENODEV' });
  });

  test('a full table of participants: EUSERS; a slot that was left can be taken', () => {
    using region = heap({ participants: 32 });
    const others = Array.from({ length: 31 }, () => Region.attach(region.ticket()));
    refuses(() => Region.attach(region.ticket()), 'EUSERS', /32 participant slots/);
    others[7]!.detach();
    Region.attach(region.ticket()).detach();
    for (const other of others) other.detach();
    assert.equal(region.participants().length, 1);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getSys, type Host, loadCalls, whyNoSys } from '../../src/sys/index.ts';

const missing = Object.assign(new Error('gone'), { code: 'MODULE_NOT_FOUND' });
const denied = Object.assign(new Error('no addons'), { code: 'ERR_DLOPEN_DISABLED' });
const broken = new Error('wrong ELF class');

function host(change: Partial<Host>): Host {
  return { platform: 'linux', arch: 'x64', env: {}, require: () => assert.fail('not to be loaded'), ...change };
}

function failing(error: Error): (id: string) => unknown {
  return () => {
    throw error;
  };
}

const cases: [what: string, host: Host, code: string, remedy: RegExp][] = [
  ['another system', host({ platform: 'darwin' }), 'ERR_HOLDFAST_PLATFORM', /Run on Linux/],
  ['another processor', host({ arch: 'riscv64' }), 'ERR_HOLDFAST_ARCH', /x64 or arm64/],
  ['switched off', host({ env: { HOLDFAST_NO_FFI: '1' } }), 'ERR_HOLDFAST_FFI_OFF', /Unset HOLDFAST_NO_FFI/],
  [
    'package missing',
    host({ require: failing(missing) }),
    'ERR_HOLDFAST_FFI_MISSING',
    /npm install @koromix\/koffi-linux-x64/,
  ],
  ['addons forbidden', host({ require: failing(denied) }), 'ERR_HOLDFAST_FFI_BROKEN', /--allow-addons/],
  ['package broken', host({ require: failing(broken), arch: 'arm64' }), 'ERR_HOLDFAST_FFI_BROKEN', /koffi-linux-arm64/],
];
for (const [what, here, code, remedy] of cases)
  test(`no system, ${what}: a code, a sentence and a remedy`, () => {
    const why = loadCalls(here);
    assert.ok('code' in why);
    assert.equal(why.code, code);
    assert.match(why.message, /\.$/);
    assert.match(why.remedy, remedy);
    assert.match(why.remedy, /heap/);
  });

test('getSys() and whyNoSys(): one or the other, and the same each time', () => {
  assert.equal(getSys() === undefined, whyNoSys() !== undefined);
  assert.equal(getSys(), getSys());
});

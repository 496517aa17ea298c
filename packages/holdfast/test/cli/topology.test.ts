import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../mem/support.ts';
import { fixture, fixtures, goldenPath, writeSysfs } from '../pci/support.ts';
import { holdfast } from './support.ts';

const REDIRECT = goldenPath('07-acs-redirect-one-port.json');

test('topology draws the tree, each device below the bridge above it', async () => {
  const { code, stdout, stderr } = await holdfast(['topology', '--fixture', REDIRECT]);
  assert.deepEqual([code, stderr], [0, '']);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, 2 + fixture('07').devices.length);
  assert.match(lines[0]!, /^DEVICE +ID +CLASS +DRIVER +BARS +P2P MEMORY +ACS$/);
  assert.match(lines[1]!, /^pci0000:00 +host bridge$/);
  assert.match(stdout, /^├─ 0000:00:02\.0 +1b36:000c +root port +pcieport +4KiB +off$/m);
  assert.match(stdout, /^│ {5}├─ 0000:02:01\.0 .* RR: redirects$/m);
  assert.match(stdout, /^│ {5}│ {2}└─ 0000:04:00\.0 +1b36:0010 +nvme +nvme +16MiB +16MiB, published$/m);
  assert.match(stdout, /^└─ 0000:00:1f\.3 .* smbus$/m);
});

test('with one device each published provider is measured, and the nearest named', async () => {
  const { stdout } = await holdfast(['topology', '0000:04:00.0', '--fixture', REDIRECT]);
  assert.match(stdout, /^0000:03:00\.0 {2}0000:04:00\.0 +4 {2}NOT_SUPPORTED$/m);
  assert.match(stdout, /^0000:04:00\.0 {2}0000:04:00\.0 +0 {2}BUS_ADDR$/m);
  assert.match(stdout, /^nearest: 0000:04:00\.0$/m);
});

test('with more each pair, and each that is refused is explained', async () => {
  const { code, stdout } = await holdfast(['topology', '03:00.0', '04:00.0', '05:00.0', '--fixture', REDIRECT]);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^PROVIDER +CLIENT +DISTANCE +TYPE\n.* 4 {2}NOT_SUPPORTED\n.* 4 {2}BUS_ADDR\n.* 4 {2}NOT_SUPPORTED$/m,
  );
  assert.match(
    stdout,
    /^0000:03:00\.0 to 0000:04:00\.0 is refused\n {2}.* meet at 0000:01:00\.0.*\n.*ACS settings\.\n/m,
  );
  assert.match(stdout, /^ {2}do: Boot with pci=disable_acs_redir=0000:02:01\.0: /m);
  assert.doesNotMatch(stdout, /0000:03:00\.0 to 0000:05:00\.0 is refused/);
});

test('--compat gives the answers of that kernel, in their form', async () => {
  const answers = await Promise.all(
    ['5.1', '5.2', '5.4', '6.12'].map(async (version) => {
      const { stdout } = await holdfast(['topology', '03:00.0', '04:00.0', '--fixture', REDIRECT, '--compat', version]);
      return /^0000:03:00\.0 {2}0000:04:00\.0 +(\S+) {2}(\S+)$/m.exec(stdout)!.slice(1);
    }),
  );
  assert.deepEqual(answers, [
    ['-2', 'NOT_SUPPORTED'],
    ['-2', 'NOT_SUPPORTED'],
    ['4', 'NOT_SUPPORTED'],
    ['4', 'NOT_SUPPORTED'],
  ]);
});

test('--json has it all as one object', async () => {
  const { stdout } = await holdfast(['topology', '03:00.0', '04:00.0', '--fixture', REDIRECT, '--json']);
  const { devices, hostBridges, cpu, pairs } = JSON.parse(stdout);
  assert.equal(devices.length, fixture('07').devices.length);
  const port = devices.find(({ bdf }: { bdf: string }) => bdf === '0000:02:01.0');
  assert.deepEqual([port.upstream, port.redirects, port.acs.control], ['0000:01:00.0', true, 4]);
  assert.deepEqual(
    hostBridges.map(({ name, id, listed }: Record<string, unknown>) => ({ name, id, listed })),
    [{ name: 'pci0000:00', id: '8086:29c0', listed: false }],
  );
  assert.deepEqual(cpu, fixture('07').cpu);
  assert.deepEqual(
    [pairs[0].type, pairs[0].disableAcsRedir, pairs[0].route.distance],
    ['NOT_SUPPORTED', '0000:02:01.0', 4],
  );
});

test('--sysfs reads a copied tree; what cannot be read is unknown until it is assumed', async (t) => {
  const root = temporaryDirectory(t);
  const machine = fixture('07');
  for (const device of machine.devices) {
    if (device.bdf === '0000:02:00.0') Object.assign(device, { acs: 'unknown', config: undefined });
  }
  for (const device of machine.devices) if (device.config === undefined) delete device.config;
  writeSysfs(machine, root);
  const args = ['topology', '03:00.0', '05:00.0', '--sysfs', root];
  const unknown = await holdfast(args);
  assert.match(unknown.stdout, /^│ {5}├─ 0000:02:00\.0 .* unknown$/m);
  assert.match(unknown.stdout, /ACS_UNKNOWN\n\n0000:03:00\.0 to 0000:05:00\.0 is refused\n/);
  assert.match((await holdfast([...args, '--assume-acs', 'off'])).stdout, / 4 {2}BUS_ADDR$/m);
});

test('without PCI it is one line and no failure', async (t) => {
  const empty = temporaryDirectory(t);
  const text = await holdfast(['topology', '--sysfs', empty]);
  assert.deepEqual([text.code, text.stderr], [0, '']);
  assert.match(text.stdout, /^.* shows no PCI devices .*file providers still work\.\n$/);
  const json = await holdfast(['topology', '--sysfs', empty, '--json']);
  assert.equal(json.code, 0);
  assert.deepEqual(JSON.parse(json.stdout).devices, []);
});

test('this machine is drawn', { skip: !existsSync('/sys/bus/pci/devices') }, async () => {
  const { code, stdout } = await holdfast(['topology']);
  assert.equal(code, 0);
  for (const bdf of readdirSync('/sys/bus/pci/devices')) assert.ok(stdout.includes(bdf));
});

test('what is wrong is one line with a code, or of the command line', async (t) => {
  const root = temporaryDirectory(t);
  const [text, list] = ['text.json', 'list.json'].map((name) => join(root, name));
  writeFileSync(text!, 'hello');
  writeFileSync(list!, '[]');
  const cut = join(root, 'cut');
  mkdirSync(cut);
  writeSysfs(fixture('07'), cut);
  rmSync(join(cut, 'devices/pci0000:00/0000:00:1f.0/class'));
  const wrong: [args: string[], code: number, message: RegExp][] = [
    [['0000:99:00.0', '--fixture', REDIRECT], 1, /no PCI device 0000:99:00\.0\. Most like it: .*\[ENODEV\]$/],
    [['lo', '--fixture', REDIRECT], 1, /lo is neither a PCI device nor below one.*\[ENODEV\]$/],
    [['--fixture', text!], 1, /it is not JSON \[ERR_HOLDFAST_RECORDING\]$/],
    [['--fixture', list!], 1, /it is not an object \[ERR_HOLDFAST_RECORDING\]$/],
    [['--fixture', join(root, 'none')], 1, /\[ENOENT\]$/],
    [['--sysfs', cut], 1, /1f\.0\/class cannot be read.*\[ERR_HOLDFAST_PCI_TREE\]$/],
    [['--sysfs', join(root, 'none')], 1, /\[ENOENT\]$/],
    [['--sysfs', root, '--fixture', text!], 2, /give one of them$/],
    [['--compat', '5.3'], 2, /--compat takes 5\.1, 5\.2, 5\.4, 6\.12; got "5\.3"/],
    [['--assume-acs', 'on'], 2, /--assume-acs takes "off"/],
  ];
  for (const [args, code, message] of wrong) {
    const run = await holdfast(['topology', ...args]);
    assert.deepEqual([run.code, run.stdout], [code, ''], args.join(' '));
    assert.match(run.stderr.trimEnd(), message);
    assert.equal(run.stderr.trimEnd().split('\n').length, 1);
  }
});

test('replay checks the recordings of trees and of the enable attribute, one line a file', async () => {
  const files = [...fixtures.keys(), 'enable-store.json'].map(goldenPath);
  const { code, stdout, stderr } = await holdfast(['replay', ...files]);
  assert.deepEqual([code, stderr], [0, '']);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, files.length);
  lines.forEach((line, index) => {
    const match = /^(.*): (\d+) checks, 0 mismatches$/.exec(line);
    assert.equal(match?.[1], files[index], line);
    assert.ok(Number(match[2]) > 50);
  });
});

test('replay tells the first answer that differs, and what is no recording', async (t) => {
  const directory = temporaryDirectory(t);
  const put = (name: string, content: unknown): string => {
    const file = join(directory, name);
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    return file;
  };
  const doctored = fixture('01');
  doctored.expected['v6.12']!.matrix['0000:03:00.0']!['0000:04:00.0'] = 'BUS_ADDR:5';
  const { code, stdout } = await holdfast(['replay', put('doctored.json', doctored)]);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /: 1016 checks, 1 mismatch\n {2}first at check \d+: \{"version":"6\.12","provider":"0000:03:00\.0","client":"0000:04:00\.0"\}\n {4}expected {2}"BUS_ADDR:5"\n {4}actual {4}"BUS_ADDR:4"\n$/,
  );

  const unheard = { ...fixture('01'), expected: { 'v9.9': { matrix: {} } } };
  const unasked = { ...fixture('01'), expected: { 'v6.12': { matrx: {} } } };
  const absent = {
    ...fixture('01'),
    expected: { 'v6.12': { matrix: { '0000:99:00.0': { '0000:03:00.0': 'BUS_ADDR:0' } } } },
  };
  const wrong = await holdfast([
    'replay',
    put('other.json', { some: 'thing' }),
    put('unheard.json', unheard),
    put('unasked.json', unasked),
    put('absent.json', absent),
    put('cyclic.json', { ...doctored, devices: doctored.devices.map((one) => ({ ...one, upstream: one.bdf })) }),
    put('case.json', { cases: [{ input: 1 }] }),
    put('cut.json', readFileSync(REDIRECT, 'utf8').slice(0, 5000)),
  ]);
  assert.equal(wrong.code, 1);
  const told = wrong.stderr.trimEnd().split('\n');
  const reasons = [
    /is none of p2pdma-topology/,
    /answers of v9\.9/,
    /unknown questions: matrx/,
    /no PCI device 0000:99:00\.0/,
    /run in a circle/,
    /input is not text/,
    /line 1 is not JSON/,
  ];
  assert.equal(told.length, reasons.length);
  reasons.forEach((reason, index) => {
    assert.match(told[index]!, reason);
    assert.match(told[index]!, /\[ERR_HOLDFAST_RECORDING\]$/);
  });
});

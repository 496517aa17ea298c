// Explanations: each answer says why, and a refused one what would allow it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain } from '../../src/p2pdma/explain.ts';
import { treeFromFixture } from '../../src/pci/index.ts';
import { fixture, fixtures, treeOf } from '../pci/support.ts';

test('a redirect names the bridges, the host bridge and the value to boot with', () => {
  const tree = treeFromFixture(fixture('07'));
  const { type, reasons, remedies, disableAcsRedir } = explain(tree, '03:00.0', '04:00.0');
  assert.equal(type, 'NOT_SUPPORTED');
  assert.equal(disableAcsRedir, '0000:02:01.0');
  assert.deepEqual(reasons, [
    '0000:03:00.0 and 0000:04:00.0 meet at 0000:01:00.0, at a distance of 4.',
    '0000:02:01.0 sends traffic up to the host bridge by its ACS settings.',
    "pci0000:00 (8086:29c0 at 0000:00:00.0) is not in the kernel's list of host bridges that pass on traffic between devices.",
  ]);
  assert.match(remedies.join(), /^Boot with pci=disable_acs_redir=0000:02:01\.0: .* no longer isolated/);
  assert.match(explain(tree, '03:00.0', '04:00.0', { version: '5.1' }).reasons.at(-1)!, /^Linux 5\.1 refuses/);
});

test('a way that is allowed needs no remedy and says why it is allowed', () => {
  const tree = treeFromFixture(fixture('07'));
  const across = explain(tree, '03:00.0', '05:00.0');
  assert.equal(across.type, 'BUS_ADDR');
  assert.match(across.reasons.join(' '), /meet at 0000:01:00\.0.*Nothing on the way redirects/);
  assert.deepEqual(across.remedies, []);
  const listed = explain(treeFromFixture(fixture('08')), '03:00.0', '05:00.0');
  assert.match(listed.reasons.join(' '), /0000:02:00\.0 and 0000:02:02\.0 send traffic up.*is in the kernel's list\.$/);
  const zen = explain(treeFromFixture(fixture('02')), '03:00.0', '06:00.0');
  assert.match(zen.reasons.at(-1)!, /AuthenticAMD, family 0x17\) passes on all/);
  assert.match(explain(tree, '03:00.0', '03:00.0').reasons[0]!, /provider and client at once/);
});

test('host bridges that are not listed, listed for themselves only, or have no device to go by', () => {
  const mixed = treeFromFixture(fixture('03'));
  const across = explain(mixed, '01:00.0', '41:00.0').reasons;
  assert.match(across[0]!, /no bridge in common/);
  assert.match(across[1]!, /^pci0000:00 .* only for traffic that stays below it/);
  assert.match(across[2]!, /^pci0000:40 \(1b36:000c at 0000:40:00\.0\) is not in the kernel's list/);
  const none = explain(treeFromFixture(fixture('09')), '88:00.0', 'ae:08.0');
  assert.match(
    none.reasons[1]!,
    /^pci0000:ae is not listed: the first device on its root bus, 0000:ae:08\.0, is neither at 00\.0 nor a root port\.$/,
  );
  assert.equal(none.reasons.length, 2, 'the other one is fine');
});

test('unknown ACS names the devices and how to know', () => {
  const tree = treeOf([
    { path: 'pci0000:00/0000:00:02.0', type: 'root-port', acs: 'unknown' },
    { path: 'pci0000:00/0000:00:02.0/0000:01:00.0' },
    { path: 'pci0000:00/0000:00:02.0/0000:01:00.1' },
  ]);
  const { type, reasons, remedies } = explain(tree, '01:00.0', '01:00.1');
  assert.equal(type, 'ACS_UNKNOWN');
  assert.match(reasons[1]!, /0000:00:02\.0 redirects? traffic is not known/);
  assert.match(remedies[0]!, /as root .*--assume-acs off/);
  assert.equal(explain(tree, '01:00.0', '01:00.1', { assumeAcs: 'off' }).type, 'BUS_ADDR');
});

test('PM4: what is no PCI device is told so', () => {
  const { type, route, reasons } = explain(treeFromFixture(fixture('01')), '03:00.0', 'lo');
  assert.deepEqual([type, route], ['NOT_SUPPORTED', undefined]);
  assert.match(reasons[0]!, /^lo is neither a PCI device nor below one/);
});

test('every recorded pair has an explanation, and a refused one a reason beyond its distance', () => {
  for (const [file, recorded] of fixtures) {
    const tree = treeFromFixture(recorded, file);
    for (const { bdf: provider } of tree.devices) {
      for (const { bdf: client } of tree.devices) {
        const { type, reasons, remedies } = explain(tree, provider, client);
        assert.ok(reasons.length >= 2, `${file} ${provider} ${client}`);
        if (type !== 'NOT_SUPPORTED') assert.deepEqual(remedies, []);
        else assert.match(reasons.at(-1)!, /list/);
      }
    }
  }
});

// The command as a user has it: a process of its own.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { endOf, serverName, startServer } from '../work/redis.ts';

const bin = fileURLToPath(new URL('../../../bin/explore.js', import.meta.url));
const fixture = (name: string): string =>
  relative('', fileURLToPath(new URL(`./fixture/${name}.scenario.js`, import.meta.url)));
const refs = relative('', fileURLToPath(new URL('../work/fixture/refs.scenario.js', import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), 'explore-'));
after(() => rmSync(folder, { recursive: true }));

/** The fixtures are in the package itself, which is not transformed unless it is named. */
const env = { ...process.env, EXPLORE_INCLUDE: fileURLToPath(new URL('./fixture', import.meta.url)) };

interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function explore(...args: string[]): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env });
  return { code: status, out: stdout, err: stderr };
}

test('explore FILE prints a row for each scenario, and exits 0 when all are as they must be', () => {
  const { code, out, err } = explore(fixture('right'), '--workers', '2');
  assert.equal(err, '');
  assert.match(out, /^scenario +threads +memory +bound +executions +time +verdict\n/);
  assert.match(out, /\ncount: two add +2 +sc +two threads, one add each +\d+ +\d+ ms +covered\n/);
  assert.match(out, /\ncount: two add without Atomics +2 +sc +\d+ +\d+ ms +found: race\n/);
  assert.match(out, /\n2 of 2 as they must be\n$/);
  assert.equal(code, 0);
});

test('explore FILE tells what is wrong with each scenario, with the story of a failure nobody expected, and exits 1', () => {
  const { code, out } = explore(fixture('wrong'), '--workers', '2');
  assert.match(out, /\nfails +2 .* found: check, but it must hold\n/);
  assert.match(out, /\nmust fail, and does not .* no deadlock was found in \d+ executions\n/);
  assert.match(out, /\nmakes no sense .* error: the scenario has no thread somebody\n/);
  assert.match(out, /\ntoo large for its budget .* no failure in 50 executions, out of budget: /);
  assert.doesNotMatch(out, /covered/);
  assert.match(out, /ExploreFailure: check in scenario "fails"[\s\S]*load +count is 0 .*wrong\.scenario\.ts:7/);
  assert.match(out, /\n4 of 4 are not as they must be\n$/);
  assert.equal(code, 1);
});

test('explore --only, --replay: the story that was told, once more, without the other scenarios', () => {
  const first = explore(fixture('wrong'), '--only', 'fails', '--json');
  const { scenarios } = JSON.parse(first.out) as { scenarios: { story: { replay: string; message: string } }[] };
  assert.equal(scenarios.length, 1);
  const { replay } = scenarios[0]!.story;
  const { code, out } = explore(fixture('wrong'), fixture('right'), '--replay', replay);
  assert.match(out, /ExploreFailure: check in scenario "fails"/);
  assert.doesNotMatch(out, /belongs to another/);
  assert.equal(code, 1);
});

test('explore --json is one object, --html a page, with reports and stories', () => {
  const page = join(folder, 'page.html');
  const { code, out } = explore(fixture('right'), '--json', '--html', page);
  const result = JSON.parse(out) as { ok: boolean; scenarios: Record<string, unknown>[] };
  assert.equal(result.ok, true);
  assert.deepEqual(
    result.scenarios.map(({ title, verdict, threads, memory }) => [title, verdict, threads, memory]),
    [
      ['count: two add', 'covered', 2, 'sc'],
      ['count: two add without Atomics', 'found: race', 2, 'sc'],
    ],
  );
  assert.equal((result.scenarios[0]!['report'] as { exhaustive: boolean }).exhaustive, true);
  assert.equal((result.scenarios[1]!['story'] as { kind: string }).kind, 'race');
  const html = readFileSync(page, 'utf8');
  assert.match(html, /^<!doctype html>/);
  assert.match(html, /count: two add without Atomics/);
  assert.equal(code, 0);
});

test('explore --list shows scenarios and runs none', () => {
  const { code, out } = explore('--list', fixture('right'));
  assert.match(
    out,
    /^count: two add {2}\(count in .*right\.scenario\.js\)\n {2}2 threads, memory sc, must hold\n {2}bound: two/,
  );
  assert.match(out, /must fail with race/);
  assert.equal(code, 0);
  assert.equal(explore('--list', fixture('wrong')).code, 1);
});

test('options of the command line stand over those of the scenarios', () => {
  const quick = explore(fixture('wrong'), '--only', 'too large', '--mode', 'quick', '--budget-executions', '9999999');
  assert.match(quick.out, / no failure in [\d,]+ executions: all schedules with up to 2 preemptions/);
  assert.equal(quick.code, 0);
  const whole = explore(
    fixture('wrong'),
    '--only',
    'too large',
    '--budget-executions',
    '9999999',
    '--memory',
    'portable',
  );
  assert.match(whole.out, /too large for its budget +4 +portable .* covered\n/);
  assert.equal(whole.code, 0);
});

test('a wrong command line is refused with what to write instead, and exit code 2', () => {
  const refused: [args: string[], says: RegExp][] = [
    [['nowhere.js'], /there is no file nowhere\.js/],
    [['--memory', 'sc'], /name at least one file/],
    [[fixture('right'), '--memory', 'weak'], /--memory takes sc, tso or portable, not "weak"/],
    [[fixture('right'), '--workers', '0'], /--workers takes a whole number from 1 on, not "0"/],
    [[fixture('right'), '--nonsense'], /Unknown option '--nonsense'/],
    [[fixture('right'), '--only', 'nobody'], /no scenario has "nobody" in its name/],
    [['worker', fixture('right')], /a worker takes its work from a queue/],
    [[fixture('right'), '--queue', 'localhost'], /--queue takes the address of a Redis or Valkey server/],
    [['--table', join(folder, 'empty.json')], /no program is in it/],
  ];
  writeFileSync(join(folder, 'empty.json'), '{}');
  for (const [args, says] of refused) {
    const { code, out, err } = explore(...args);
    assert.match(err, says);
    assert.deepEqual([code, out], [2, ''], args.join(' '));
  }
});

test('explore --help has an example for every way to use it; so has explore alone', () => {
  const { code, out } = explore('--help');
  for (const word of ['--list', '--table', 'worker --queue', '--replay', '--html', '--json', '--only']) {
    assert.ok(out.slice(out.indexOf('Examples')).includes(word), word);
  }
  assert.equal(code, 0);
  assert.equal(explore().out, out);
  assert.match(explore('--version').out, /^\d+\.\d+\.\d+\n$/);
});

test('a file that cannot be imported is named, with the reason', () => {
  const file = join(folder, 'bad.scenario.mjs');
  writeFileSync(file, 'throw new Error("no such luck");\n');
  const { code, err } = explore(file);
  assert.match(err, /bad\.scenario\.mjs cannot be imported: Error: no such luck/);
  assert.equal(code, 1);
});

test('Ctrl-C ends the search, prints what was learned, and exits 130', async () => {
  const child = spawn(process.execPath, [bin, refs, '--only', 'five users', '--mode', 'exhaustive', '--workers', '1'], {
    env,
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (out.includes('verdict')) setTimeout(() => child.kill('SIGINT'), 1000); // the header: the search is about to begin
  });
  await endOf(child);
  assert.equal(child.exitCode, 130);
  assert.match(out, /refs: five users .* no failure in [\d,]+ executions, stopped: some schedules/);
});

test('explore --table compares with what is known: differences, skipped programs, missing fields', () => {
  const file = join(folder, 'table.json');
  const twoAdds = ['Atomics.add(m, 0, 1);', 'Atomics.add(m, 0, 1);'];
  const traces = [
    {
      program: 'right',
      n: 2,
      cells: 1,
      init: [],
      bodies: twoAdds,
      traces: 2,
      blocked: 0,
      failed: 0,
      finals: 1,
      needs: [],
    },
    { program: 'no n', bodies: twoAdds, traces: 2 },
    { program: 'wrong', n: 1, cells: 1, bodies: twoAdds, traces: 3, finals: 2 },
    { program: 'unknown', n: 1, cells: 1, bodies: twoAdds, traces: 2, needs: ['telepathy'] },
    { program: 'many', n: 12, cells: 300, bodies: Array(12).fill('Atomics.load(m, 299);'), traces: 1 },
    { program: 'unreadable', n: 1, bodies: ['Atomics.add(m, 0'], traces: 1 },
  ];
  const sc = { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], failure: false };
  const behaviours = [
    { behaviour: 'sb', cells: 2, bodies: ['m[0] = 1; return m[1];', 'm[1] = 1; return m[0];'], sc, tso: sc },
  ];
  writeFileSync(file, JSON.stringify({ meta: {}, traces, behaviours }));
  const { code, out } = explore('--table', file);
  const lines = out.trimEnd().split('\n');
  assert.match(lines[0]!, /^right\(2\): expected 2, found 2, redundant 0, [\d.]+ ms$/);
  assert.match(lines[1]!, /^no n: expected 2, found 2, redundant 0, [\d.]+ ms$/);
  assert.match(lines[2]!, /^wrong\(1\): expected 3, found 2, redundant 0, [\d.]+ ms; finals: expected 2, found 1$/);
  assert.equal(lines[3], 'unknown(1): skipped: needs telepathy');
  assert.match(lines[4]!, /^many\(12\): expected 1, found 1, /);
  assert.match(lines[5]!, /^unreadable\(1\): .*Unexpected/);
  assert.match(lines[6]!, /^sb\(sc\): ok, finished 3\/3, deadlocks 0\/0, failure no, [\d.]+ ms$/);
  assert.match(lines[7]!, /^sb\(tso\): DIFFERS, finished 4\/3, .*; finished that cannot be: 1,1\|0,0$/);
  assert.equal(lines[8], '4 as expected, 3 not, 1 skipped: unknown(1)');
  assert.equal(code, 1);
});

test('explore --table runs programs side by side, and --only some of them', () => {
  const golden = relative('', fileURLToPath(new URL('../../../testdata/golden/traces.json', import.meta.url)));
  const { code, out } = explore('--table', golden, '--only', 'kill-ref', '--workers', '2');
  assert.match(out, /kill-ref\(2\): expected (\d+), found \1, redundant 0/);
  assert.ok(
    out.split('\n').every((line) => line === '' || /^kill-ref|as expected/.test(line)),
    out,
  );
  assert.equal(code, 0);
});

const skip = serverName === undefined && 'needs redis-server';

test('explore --queue shares a search with explore worker, through a real server', { skip }, async () => {
  const server = await startServer();
  const worker = spawn(process.execPath, [bin, 'worker', '--queue', server.address, '--workers', '1', refs], { env });
  let told = '';
  worker.stdout.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  try {
    await new Promise((resolve) => worker.stderr.once('data', resolve));
    const args = [
      refs,
      '--only',
      'slowly',
      '--mode',
      'exhaustive',
      '--queue',
      server.address,
      '--workers',
      '1',
      '--json',
    ];
    const child = spawn(process.execPath, [bin, ...args], { env });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    await endOf(child);
    const [row] = (JSON.parse(out) as { scenarios: { verdict: string; report: { traces: number; notes: string[] } }[] })
      .scenarios;
    assert.deepEqual([row!.verdict, row!.report.traces, row!.report.notes], ['covered', 31_526, row!.report.notes]);
    assert.doesNotMatch(row!.report.notes.join(), /workers were not used/);
  } finally {
    worker.kill('SIGINT');
    await endOf(worker);
    await server.stop();
  }
  assert.match(told, /^[1-9]\d* units, [1-9]\d* executions\n$/);
});

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { real, temporaryDirectory } from '../mem/support.ts';
import { holdfast } from './support.ts';

const golden = fileURLToPath(new URL('../../../testdata/golden/', import.meta.url));
const devres = join(golden, 'devres', 'basic.ndjson.gz');
const lines = gunzipSync(readFileSync(devres)).toString().trimEnd().split('\n');

/** One recording of each kind there is, the smallest. */
const recordings = ['devres', 'genalloc', 'percpu-ref'].map((kind) => {
  const files = readdirSync(join(golden, kind)).filter((file) => file.endsWith('.ndjson.gz'));
  const sizes = files.map((file) => ({ file, bytes: readFileSync(join(golden, kind, file)).length }));
  return join(golden, kind, sizes.sort((a, b) => a.bytes - b.bytes)[0]!.file);
});

/** A recording made of other lines. */
function recording(t: TestContext, name: string, content: readonly string[] | string): string {
  const path = join(temporaryDirectory(t), name);
  writeFileSync(path, typeof content === 'string' ? content : `${content.join('\n')}\n`);
  return path;
}

/** The lines with the result of one operation changed: that of the first `release_all` after line 100. */
function doctored(): { content: string[]; line: number } {
  const index = lines.findIndex((text, at) => at > 100 && text.includes('"op":"release_all"'));
  const op = JSON.parse(lines[index]!);
  return { content: lines.with(index, JSON.stringify({ ...op, ret: op.ret + 1 })), line: index + 1 };
}

test("the kernel's own recordings of every kind replay without a mismatch, one line a file", async () => {
  const { code, stdout, stderr } = await holdfast(['replay', ...recordings]);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  const told = stdout.trimEnd().split('\n');
  assert.equal(told.length, recordings.length);
  recordings.forEach((file, index) => {
    const match = /^(.*): (\d+) ops, 0 mismatches, (\d+) ops\/s$/.exec(told[index]!);
    assert.ok(match, told[index]);
    assert.equal(match[1], file);
    assert.equal(Number(match[2]), gunzipSync(readFileSync(file)).toString().trimEnd().split('\n').length - 1);
    assert.ok(Number(match[3]) > 0);
  });
});

test('a recording replays alike, zipped or not, whatever its name', async (t) => {
  const plain = recording(t, 'a.ndjson.gz', lines);
  const directory = temporaryDirectory(t);
  const zipped = join(directory, 'b.ndjson');
  writeFileSync(zipped, gzipSync(lines.join('\n')));
  const { code, stdout } = await holdfast(['replay', plain, zipped, '--json']);
  assert.equal(code, 0);
  const { ok, files } = JSON.parse(stdout);
  assert.equal(ok, true);
  assert.deepEqual(
    files.map(({ kind, ops, mismatches }: Record<string, unknown>) => ({ kind, ops, mismatches })),
    [0, 1].map(() => ({ kind: 'devres', ops: lines.length - 1, mismatches: 0 })),
  );
});

test('a doctored recording is told with its line, operation, expected and actual', async (t) => {
  const { content, line } = doctored();
  const file = recording(t, 'doctored.ndjson', content);
  const text = await holdfast(['replay', file, devres]);
  assert.equal(text.code, 1);
  assert.match(
    text.stdout,
    new RegExp(
      `: ${lines.length - 1} ops, [1-9]\\d* mismatch(?:es)?, \\d+ ops/s\n  first at line ${line}: \\{"op":"release_all"`,
    ),
  );
  assert.match(text.stdout, /\n {4}expected {2}\{.*"ret":.*\n {4}actual {4}\{.*"ret":/);
  assert.match(text.stdout, /basic\.ndjson\.gz: \d+ ops, 0 mismatches/, 'the other file is replayed all the same');

  const json = JSON.parse((await holdfast(['replay', file, '--json'])).stdout);
  assert.equal(json.ok, false);
  const { first } = json.files[0];
  assert.equal(first.line, line);
  assert.equal(first.expected.ret, first.actual.ret + 1);
});

test('what is no recording is told, and the other files are replayed', async (t) => {
  const header = lines[0]!;
  const wrong: [name: string, content: string | string[], why: RegExp][] = [
    ['empty', '', /it is empty/],
    ['text', 'hello\n', /line 1 is not JSON/],
    ['list', '[1]\n', /line 1 is not an object/],
    ['headless', lines.slice(1), /first line is no header/],
    ['broken', lines.with(7, lines[7]!.slice(0, -3)), /line 8 is not JSON/],
    ['hole', lines.with(7, ''), /line 8 is not JSON/],
    ['cut', lines.slice(0, -5), /promises 6005 operations and 6000 follow/],
    ['grown', [...lines, lines[7]!], /promises 6005 operations and 6006 follow/],
    [
      'other',
      [header.replace('"devres"', '"knitting"'), ...lines.slice(1)],
      /a recording of "knitting"; only genalloc, devres, percpu-ref/,
    ],
    ['proto', [header.replace('"devres"', '"constructor"'), ...lines.slice(1)], /a recording of "constructor"/],
    ['future', [header.replace('"version":1', '"version":2'), ...lines.slice(1)], /not a recording/],
  ];
  const files = wrong.map(([name, content]) => recording(t, `${name}.ndjson`, content));
  const directory = temporaryDirectory(t);
  const torn = join(directory, 'torn.ndjson.gz');
  writeFileSync(torn, readFileSync(devres).subarray(0, 1000));
  const { code, stdout, stderr } = await holdfast([
    'replay',
    ...files,
    torn,
    join(directory, 'none'),
    directory,
    devres,
  ]);
  assert.equal(code, 1);
  const told = stderr.trimEnd().split('\n');
  assert.equal(told.length, wrong.length + 3);
  wrong.forEach(([name, , why], index) => {
    assert.match(told[index]!, why);
    assert.match(told[index]!, new RegExp(`/${name}\\.ndjson.*\\[ERR_HOLDFAST_RECORDING\\]$`));
  });
  assert.match(told.at(-3)!, /torn.*cannot be unzipped.*\[ERR_HOLDFAST_RECORDING\]$/);
  assert.match(told.at(-2)!, /\[ENOENT\]$/);
  assert.match(told.at(-1)!, /\[EISDIR\]$/);
  assert.match(stdout, /^\S+basic\.ndjson\.gz: 6005 ops, 0 mismatches, \d+ ops\/s\n$/);
});

test(
  'PA11: recordings of questions and answers replay without a mismatch, and say what is not asked here, and why',
  real,
  async () => {
    const folder = join(golden, 'p2pdma');
    const files = readdirSync(folder).filter((file) => file.endsWith('.json'));
    assert.ok(files.includes('allocate-mmap.json') && files.length >= 11);
    const { code, stdout, stderr } = await holdfast(['replay', ...files.map((file) => join(folder, file))]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    for (const file of files) assert.match(stdout, new RegExp(`${file}: \\d+ checks, 0 mismatches\n`));
    const passedOver = [...stdout.matchAll(/^ {2}not asked here: (\S+): \S/gm)].map(([, id]) => id);
    const known = ['mlock', 'mprotect-ro', 'mremap-grow', 'mremap-grow-touch', 'touch-after-unbind'];
    assert.deepEqual(passedOver.filter((id) => !id!.startsWith('odirect')).sort(), known);
  },
);

test('a doctored recording of p2pmem/allocate is told with the case', real, async (t) => {
  const document = JSON.parse(readFileSync(join(golden, 'p2pdma', 'allocate-mmap.json'), 'utf8'));
  document.cases = document.cases.filter(({ id }: { id: string }) => ['map3', 'partial-munmap'].includes(id));
  document.cases[1].result = 8192;
  const { code, stdout } = await holdfast(['replay', recording(t, 'doctored.json', JSON.stringify(document))]);
  assert.equal(code, 1);
  assert.match(
    stdout,
    /: 5 checks, 1 mismatch\n {2}first at check 5: .*partial-munmap.*\n {4}expected {2}8192\n {4}actual {4}4096/,
  );
});

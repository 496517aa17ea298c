/** The Node loader, in child processes: TypeScript, CommonJS, code that a compiler made; on every version of Node alike. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { included } from '../../src/transform/include.ts';
import { originalPosition } from '../../src/transform/lines.ts';

const dist = fileURLToPath(new URL('../../src/', import.meta.url));
const fixtures = fileURLToPath(new URL('../../../test/transform/fixture-node/', import.meta.url));
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'explore-loader-')));
after(() => rmSync(folder, { recursive: true }));
cpSync(fixtures, folder, { recursive: true });
// The fixtures import the explorer's parts by these names.
const parts = { lines: 'src/transform/lines.js', port: 'src/port.js', recorder: 'test/transform/recorder.js' };
mkdirSync(join(folder, 'lib'));
for (const [name, target] of Object.entries(parts)) {
  const url = new URL(`../../${target}`, import.meta.url).href;
  writeFileSync(join(folder, 'lib', `${name}.js`), `export * from ${JSON.stringify(url)};\n`);
}
writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', imports: { '#*': './lib/*.js' } }));

function run(file: string, env: Record<string, string> = {}, flags: string[] = []): string {
  const register = pathToFileURL(`${dist}transform/register.js`).href;
  const result = spawnSync(process.execPath, [...flags, '--import', register, file], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '', ...env },
  });
  assert.equal(result.stderr, '');
  assert.equal(result.status, 0);
  return result.stdout;
}

test('loader: TypeScript and CommonJS run, seen by the hooks, with lines and columns of the source', () => {
  const told = JSON.parse(run('main.mts'));
  assert.deepEqual(told.seen, ['load 4+4', 'store 4+4', 'load 4+4', 'load 0+4', 'load 4+4', 'load 0+4']);
  assert.deepEqual([told.value, told.peeked, told.made, told.count, told.transformed], [1, 1, 'commonjs', 1, true]);
  assert.deepEqual(told.frames[0], { file: join(folder, 'shared.ts'), line: 30, column: 42, name: 'fails' });
  assert.equal(told.frames[1].line, 26);
  assert.match(told.stack, /shared\.ts:30:/);
  assert.deepEqual(told.states.includes('shared.ts'), true);
});

test('loader: EXPLORE_INCLUDE says what is transformed', () => {
  assert.equal(JSON.parse(run('main.mts', { EXPLORE_INCLUDE: 'nothing' })).transformed, false);
  const told = JSON.parse(run('main.mts', { EXPLORE_INCLUDE: `nothing,${folder}/**/sh*.ts` }));
  assert.deepEqual(told.seen, ['load 4+4', 'store 4+4', 'load 4+4', 'load 0+4']);
});

test('loader: code that a compiler made shows its source, as told by the map beside it or inside', () => {
  // Line 3 of the output is line 6 of the source, line 4 is line 7.
  const map = { version: 3, sources: ['../src/made.ts'], names: [], mappings: ';;AAKA;AACA,OAAO' };
  mkdirSync(join(folder, 'out'), { recursive: true });
  const body = [
    'import { callerStack } from "#lines"; import { Recorder } from "#recorder"; let frames;',
    'const w = new Int32Array(new SharedArrayBuffer(8)), spy = new Recorder(w.buffer); spy.load = () => 0;',
    'spy.covers = () => { frames = callerStack(2); return true; }; spy.begin();',
    'w[0]; spy.end(); console.log(JSON.stringify(frames[1]));',
  ].join('\n');
  writeFileSync(join(folder, 'out', 'made.js'), `${body}\n//# sourceMappingURL=made.js.map`);
  writeFileSync(join(folder, 'out', 'made.js.map'), JSON.stringify(map));
  assert.deepEqual(JSON.parse(run('out/made.js')), { file: join(folder, 'src', 'made.ts'), line: 7, column: 1 });
  const inline = `data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}`;
  writeFileSync(join(folder, 'out', 'inline.js'), `${body}\n//# sourceMappingURL=${inline}`);
  assert.deepEqual(JSON.parse(run('out/inline.js')), { file: join(folder, 'src', 'made.ts'), line: 7, column: 1 });
});

test('loader: a mistake is told by Node, with its line', () => {
  writeFileSync(join(folder, 'enum.ts'), 'const a = 1;\nenum E { A }\n');
  writeFileSync(join(folder, 'wrong.js'), 'let let = 1;\n');
  const register = pathToFileURL(`${dist}transform/register.js`).href;
  for (const [file, message] of [
    ['enum.ts', /enum\.ts:2: .*enum/],
    ['wrong.js', /wrong\.js:1[\s\S]*SyntaxError/],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, ['--import', register, file], {
      cwd: folder,
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
});

test("loader: stacks are those of the compiled file's source with --enable-source-maps", () => {
  const map = { version: 3, sources: ['thrown.ts'], names: [], mappings: ';AAKA' };
  writeFileSync(
    join(folder, 'thrown.js'),
    `// made\ntry { [][0].x; } catch (e) { console.log(e.stack); }\n//# sourceMappingURL=thrown.js.map`,
  );
  writeFileSync(join(folder, 'thrown.js.map'), JSON.stringify(map));
  assert.match(run('thrown.js', {}, ['--enable-source-maps']), /thrown\.ts:6:/);
});

test('originalPosition leaves a file that is its own source as it is', () => {
  const place = { file: '/nowhere/x.js', line: 3, column: 4 };
  assert.deepEqual(originalPosition('file:///nowhere/x.js?v=1', 3, 4), place);
  assert.deepEqual(originalPosition(place.file, 3, 4), place);
});

test('included: by default all but node_modules and the explorer itself, which is never seen', () => {
  const isIncluded = included();
  assert.equal(isIncluded('/a/b.ts'), true);
  assert.equal(isIncluded('/a/node_modules/b/c.js'), false);
  assert.equal(isIncluded('/a/b.css'), false);
  assert.equal(isIncluded(fileURLToPath(import.meta.url)), false);
  const own = included([/plain\.js$/, '/a', (file) => file.endsWith('z.mjs')]);
  assert.equal(own(join(dist, 'hooks/plain.js')), false);
  assert.deepEqual(['/a/b.js', '/ab/c.js', '/c/z.mjs', '/c/plain.js'].map(own), [true, false, true, true]);
});

import { expect, test } from 'vitest';
import { port } from '../../../dist/src/port.js';
import { callerStack } from '../../../dist/src/transform/lines.js';
import { Recorder } from '../../../dist/test/transform/recorder.js';
import { Cells } from './src/cells.ts';

class Spy extends Recorder {
  frames: { file: string; line: number; column: number }[] = [];

  override load(view: Int32Array, index: number): number {
    this.frames = callerStack(4).slice(1);
    return super.load(view, index) as number;
  }
}

test('accesses are seen, at their lines', () => {
  const words = new Int32Array(new SharedArrayBuffer(8));
  const spy = new Spy(words.buffer as SharedArrayBuffer);
  spy.begin();
  const cells = new Cells({ words });
  const value = cells.next();
  const frames = spy.frames;
  spy.end();
  expect(spy.log).toEqual(['load 4+4', 'store 4+4', 'load 4+4']);
  expect(value).toBe(1);
  expect(frames[0]).toMatchObject({ line: 23, column: 18 });
  expect(frames[0]?.file).toMatch(/fixture-vitest\/src\/cells\.ts$/);
  expect(frames[1]).toMatchObject({ line: 21 });
  expect(frames[1]?.file).toMatch(/fixture-vitest\/cells\.test\.ts$/);
});

test('module state is registered once, under the path of the file', () => {
  const states = port.modules.filter(({ file }) => file.endsWith('/src/cells.ts'));
  expect(states.length).toBe(1);
  const saved = states[0]?.save();
  const before = Cells.made();
  new Cells({ words: new Int32Array(2) });
  states[0]?.restore(saved);
  expect(Cells.made()).toBe(before);
});

test('an error shows the line of the source', () => {
  const cells = new Cells({ words: new Int32Array(2) });
  let stack = '';
  try {
    cells.fails();
  } catch (error) {
    stack = (error as Error).stack as string;
  }
  console.log(`STACK ${JSON.stringify(stack)}`);
  if (process.env['FIXTURE_FAILS']) cells.fails();
});

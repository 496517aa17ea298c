// Run with the loader: prints what the hooks saw, and where an error was thrown.
import { createRequire } from 'node:module';
import { callerStack } from '#lines';
import { port } from '#port';
import { Recorder } from '#recorder';
import { Cell, count } from './shared.js';

class Spy extends Recorder {
  frames: unknown[] = [];

  override load(view: Int32Array, index: number): number {
    this.frames = callerStack(3).slice(1);
    return super.load(view, index);
  }
}

const words: Int32Array = new Int32Array(new SharedArrayBuffer(8));
const spy = new Spy(words.buffer as SharedArrayBuffer);
spy.begin();
const cell = new Cell({ words });
const value = cell.next();
const { peek, made } = createRequire(import.meta.url)('./common.cjs') as { peek(w: Int32Array): number; made: string };
const peeked = peek(words);
let stack = '';
try {
  cell.fails(0);
} catch (error) {
  stack = (error as Error).stack as string;
}
spy.end();
const states = port.modules.map(({ file }: { file: string }) => file.replace(/.*\//, ''));
const told = { seen: spy.log, value, peeked, made, frames: spy.frames, stack, states, count: count() };
console.log(JSON.stringify({ ...told, transformed: port.transformed }));

/** frames: places in the user's sources, from the lines of a V8 stack. */
import { originalPosition, type Position } from '../transform/lines.ts';

const FRAME = /^\s*at (?:(.*?) \()?(?:(file:\/\/.*?|\/.*?|[A-Za-z]:\\.*?)):(\d+):(\d+)\)?$/;

/** The first place of a stack that is in a file. */
export function firstPlace(stack: string): Position | undefined {
  for (const line of stack.split('\n')) {
    const position = placeOfFrame(line);
    if (position !== undefined) return position;
  }
  return undefined;
}

/** The frames of a stack, `function (file:line:column)`, in the user's sources. */
export function mapStack(stack: string): string[] {
  return stack
    .split('\n')
    .map((line) => {
      const position = placeOfFrame(line);
      if (position === undefined) return line.trim().replace(/^at /, '');
      const name = FRAME.exec(line)?.[1];
      const place = `${position.file}:${position.line}:${position.column}`;
      return name === undefined ? place : `${name} (${place})`;
    })
    .filter((line) => line !== '');
}

function placeOfFrame(line: string): Position | undefined {
  const match = FRAME.exec(line);
  if (match === null) return undefined;
  return originalPosition(match[2]!, Number(match[3]), Number(match[4]));
}

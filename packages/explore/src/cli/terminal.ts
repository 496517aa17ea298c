/**
 * terminal: where the command writes. Results go to standard output, notes and progress to standard error. A reader that goes away
 * (`explore ... | head -1`) is no error. Colour and progress are for people: only where the stream is a terminal.
 */
import { styleText } from 'node:util';

export interface Terminal {
  print(text: string): void;
  note(text: string): void;
  /** Shows a line that the next one replaces, where somebody looks; `''` takes it away. */
  progress(text: string): void;
  paint(colour: 'green' | 'red' | 'bold', text: string): string;
  readonly hasColour: boolean;
  readonly columns: number | undefined;
}

export function processTerminal(): Terminal {
  const { stdout, stderr } = process;
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  const hasColour = stdout.isTTY === true && !process.env['NO_COLOR'];
  let isShown = false;
  const progress = (text: string): void => {
    if (stderr.isTTY !== true || (text === '' && !isShown)) return;
    stderr.write(`\r${text.slice(0, (stderr.columns || 80) - 1)}\x1b[K`);
    isShown = text !== '';
  };
  return {
    print(text) {
      progress('');
      stdout.write(`${text}\n`);
    },
    note(text) {
      progress('');
      stderr.write(`${text}\n`);
    },
    progress,
    paint: (colour, text) => (hasColour ? styleText(colour, text) : text),
    hasColour,
    columns: stdout.isTTY === true ? stdout.columns || undefined : undefined,
  };
}

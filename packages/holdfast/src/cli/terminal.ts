/**
 * terminal: where the command writes. Results go to standard output, everything else (notes, progress) to standard error.
 *
 * A reader that goes away (`holdfast list | head -1`) is no error: what is still to be written is dropped, and the command
 * comes to its end, so that it cleans up as ever. Colour and progress are for people: only where the stream is a terminal.
 */
import { styleText } from 'node:util';

export interface Terminal {
  /** Writes text and a line end to standard output. */
  print(text: string): void;
  /** Writes text and a line end to standard error. */
  note(text: string): void;
  /** Whether there is somebody to look at progress. */
  readonly interactive: boolean;
  /** Shows a line that the next one replaces; nothing when not `interactive`. `''` takes it away. */
  progress(text: string): void;
  /** Text in a colour, where standard output shows colours. */
  paint(colour: 'green' | 'red' | 'bold', text: string): string;
}

/** The streams of this process. */
export function processTerminal(): Terminal {
  const { stdout, stderr } = process;
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  const colours = stdout.isTTY === true && !process.env['NO_COLOR'];
  const interactive = stderr.isTTY === true;
  let shown = false;
  const progress = (text: string): void => {
    if (!interactive || (text === '' && !shown)) return;
    // A terminal may say that it has no columns at all.
    stderr.write(`\r${text.slice(0, (stderr.columns || 80) - 1)}\x1b[K`);
    shown = text !== '';
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
    interactive,
    progress,
    paint: (colour, text) => (colours ? styleText(colour, text) : text),
  };
}

/** replay: has our code do what the kernel's code was recorded doing, and compares. */
import { HoldfastError } from '../../errors.ts';
import { type Command, errorToJson, errorToLine, parseCommandLine } from '../command.ts';
import { replayDevres } from '../replay/devres.ts';
import { replayGenalloc } from '../replay/genalloc.ts';
import { replayPercpuRef } from '../replay/percpu-ref.ts';
import { readRecording } from '../replay/read.ts';
import type { Mismatch, Outcome, Replayer } from '../replay/recording.ts';
import { count } from '../text.ts';

const REPLAYERS: Readonly<Record<string, Replayer>> = {
  genalloc: replayGenalloc,
  devres: replayDevres,
  'percpu-ref': replayPercpuRef,
};

/** What is told about one file. */
interface Replayed extends Outcome {
  readonly file: string;
  readonly kind: string;
  readonly opsPerSecond: number;
}

export const replay: Command = {
  name: 'replay',
  summary: "compare with recordings of the kernel's own code",
  help: `Usage: holdfast replay FILE... [--json]

Runs recordings of the kernel's own code (${Object.keys(REPLAYERS).join(', ')}; .ndjson or .ndjson.gz) against holdfast's
and compares every result. Prints one line a file, and the first difference where there is one. Ends with
exit code 1 if any file differs or is not a recording.

Options:
  --json  one object: { "ok", "files": [{ "file", "kind", "ops", "mismatches", "opsPerSecond", "first" }] }

Examples:
  holdfast replay packages/holdfast/testdata/golden/genalloc/edge.ndjson.gz
  holdfast replay packages/holdfast/testdata/golden/*/*.ndjson.gz
  holdfast replay recording.ndjson --json | jq .files[0].first`,

  run(args, terminal) {
    const operands = { needed: ['a FILE'], max: Number.POSITIVE_INFINITY };
    const { values, positionals } = parseCommandLine('replay', args, { json: { type: 'boolean' } }, operands);
    let ok = true;
    const files: unknown[] = [];
    for (const file of positionals) {
      try {
        const replayed = replayFile(file);
        files.push(replayed);
        ok &&= replayed.mismatches === 0;
        if (!values.json) terminal.print(render(replayed));
      } catch (error) {
        ok = false;
        files.push({ file, error: errorToJson(error) });
        if (!values.json) terminal.note(`holdfast: ${errorToLine(error)}`);
      }
    }
    if (values.json) terminal.print(JSON.stringify({ ok, files }));
    return ok ? 0 : 1;
  },
};

function replayFile(file: string): Replayed {
  const { header, ops } = readRecording(file);
  const kind = String(header['kind']);
  const replayer = Object.hasOwn(REPLAYERS, kind) ? REPLAYERS[kind] : undefined;
  if (replayer === undefined) {
    throw new HoldfastError(
      'ERR_HOLDFAST_RECORDING',
      `${file} is a recording of "${kind}"; only ${Object.keys(REPLAYERS).join(', ')} can be replayed`,
    );
  }
  const start = performance.now();
  let outcome: Outcome;
  try {
    outcome = replayer(header, ops);
  } catch (error) {
    // For a mismatch no replayer throws, so the file has things in it that do not belong there.
    throw new HoldfastError('ERR_HOLDFAST_RECORDING', `${file} is not a recording: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const seconds = Math.max(performance.now() - start, 0.001) / 1000;
  const { first } = outcome;
  return {
    file,
    kind,
    ...outcome,
    opsPerSecond: Math.round(outcome.ops / seconds),
    // The replayers count operations; people look for lines of the file, of which the header is the first.
    ...(first && { first: { ...first, line: first.line + 1 } }),
  };
}

function render({ file, ops, mismatches, opsPerSecond, first }: Replayed): string {
  const line = `${file}: ${count(ops, 'op')}, ${count(mismatches, 'mismatch', 'mismatches')}, ${opsPerSecond} ops/s`;
  return first === undefined ? line : `${line}\n${renderMismatch(first)}`;
}

function renderMismatch({ line, op, expected, actual }: Mismatch): string {
  return `  first at line ${line}: ${JSON.stringify(op)}\n    expected  ${JSON.stringify(expected)}\n    actual    ${JSON.stringify(actual)}`;
}

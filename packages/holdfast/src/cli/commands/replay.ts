/** replay: has our code do what the kernel's code was recorded doing, and compares. */
import { HoldfastError, isHoldfastError } from '../../errors.ts';
import { type Command, errorToJson, errorToLine, parseCommandLine } from '../command.ts';
import { replayDevres } from '../replay/devres.ts';
import { DOCUMENTS } from '../replay/documents.ts';
import { replayGenalloc } from '../replay/genalloc.ts';
import { replayPercpuRef } from '../replay/percpu-ref.ts';
import { type Document, type Recording, readRecording } from '../replay/read.ts';
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
  /** Only for a recording of operations. */
  readonly opsPerSecond?: number;
}

/** What is not the recording's fault, or says already that it is. */
const OWN_ERRORS = ['ERR_HOLDFAST_RECORDING', 'ERR_HOLDFAST_NO_REAL_MEMORY', 'ENOSPC', 'EMFILE'];

/** A recording that somebody can replay. */
interface Play {
  readonly kind: string;
  run(): Outcome | Promise<Outcome>;
}

export const replay: Command = {
  name: 'replay',
  summary: "compare with recordings of the kernel's own code",
  help: `Usage: holdfast replay FILE... [--json]

Runs recordings of the kernel's own code (${Object.keys(REPLAYERS).join(', ')}; .ndjson or .ndjson.gz) against holdfast's
and compares every result; with recordings of questions and answers
(${DOCUMENTS.map(({ kind }) => kind).join(', ')}; .json) every answer.
Prints one line a file, the first difference where there is one, and what was passed over, with the reason.
Ends with exit code 1 if any file differs or is not a recording.

Options:
  --json  one object: { "ok", "files": [{ "file", "kind", "ops", "mismatches", "opsPerSecond", "first",
          "passedOver" }] }

Examples:
  holdfast replay packages/holdfast/testdata/golden/genalloc/edge.ndjson.gz
  holdfast replay packages/holdfast/testdata/golden/*/*.ndjson.gz
  holdfast replay recording.ndjson --json | jq .files[0].first`,

  async run(args, terminal) {
    const operands = { needed: ['a FILE'], max: Number.POSITIVE_INFINITY };
    const { values, positionals } = parseCommandLine('replay', args, { json: { type: 'boolean' } }, operands);
    let ok = true;
    const files: unknown[] = [];
    for (const file of positionals) {
      try {
        const replayed = await replayFile(file);
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

async function replayFile(file: string): Promise<Replayed> {
  const recording = readRecording(file);
  const isDocument = 'document' in recording;
  const { kind, run } = isDocument ? playDocument(file, recording) : playLines(file, recording);
  const start = performance.now();
  let outcome: Outcome;
  try {
    outcome = await run();
  } catch (error) {
    if (OWN_ERRORS.some((code) => isHoldfastError(error, code))) throw error;
    // For a mismatch no replayer throws, so the file has things in it that do not belong there.
    throw new HoldfastError('ERR_HOLDFAST_RECORDING', `${file} is not a recording: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (isDocument) return { file, kind, ...outcome };
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

function playLines(file: string, { header, ops }: Recording): Play {
  const kind = String(header['kind']);
  const replayer = Object.hasOwn(REPLAYERS, kind) ? REPLAYERS[kind] : undefined;
  if (replayer !== undefined) return { kind, run: () => replayer(header, ops) };
  throw new HoldfastError(
    'ERR_HOLDFAST_RECORDING',
    `${file} is a recording of "${kind}"; only ${Object.keys(REPLAYERS).join(', ')} can be replayed`,
  );
}

function playDocument(file: string, { document }: Document): Play {
  const found = DOCUMENTS.find(({ is }) => is(document));
  if (found !== undefined) return { kind: found.kind, run: () => found.replay(document, file) };
  throw new HoldfastError(
    'ERR_HOLDFAST_RECORDING',
    `${file} is not a recording: its first line is no header ({"kind": "genalloc", "version": 1, ...}), and the whole is none of ${DOCUMENTS.map(({ kind }) => kind).join(', ')}`,
  );
}

function render({ file, ops, mismatches, opsPerSecond, first, passedOver = [] }: Replayed): string {
  const differences = count(mismatches, 'mismatch', 'mismatches');
  if (opsPerSecond === undefined) {
    const line = `${file}: ${count(ops, 'check')}, ${differences}`;
    const lines = first === undefined ? [line] : [line, renderMismatch(first, 'check')];
    return [...lines, ...passedOver.map(({ id, why }) => `  not asked here: ${id}: ${why}`)].join('\n');
  }
  const line = `${file}: ${count(ops, 'op')}, ${differences}, ${opsPerSecond} ops/s`;
  return first === undefined ? line : `${line}\n${renderMismatch(first, 'line')}`;
}

function renderMismatch({ line, op, expected, actual }: Mismatch, unit: string): string {
  return `  first at ${unit} ${line}: ${JSON.stringify(op)}\n    expected  ${JSON.stringify(expected)}\n    actual    ${JSON.stringify(actual)}`;
}

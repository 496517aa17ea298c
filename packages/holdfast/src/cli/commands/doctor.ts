/** doctor: what of holdfast works on this machine. */
import { type Command, parseCommandLine } from '../command.ts';
import { doctor as examine, renderDoctor } from '../doctor.ts';

export const doctor: Command = {
  name: 'doctor',
  summary: 'what works on this machine, and what to do about the rest',
  help: `Usage: holdfast doctor [--json]

Tries everything that holdfast asks of the system, in some 10 ms, and leaves nothing behind. What does not
work is told with the reason and the remedy. Ends with exit code 0 when regions of real memory can be had
(what is amiss beside that only costs speed or comfort), else with 1.

Options:
  --json  one object: { "ok", "checks": [{ "name", "ok", "detail", "reason", "remedy" }] }

Examples:
  holdfast doctor
  holdfast doctor --json | jq '.checks[] | select(.ok | not)'`,

  run(args, terminal) {
    const { values } = parseCommandLine('doctor', args, { json: { type: 'boolean' } }, { max: 0 });
    const checks = examine();
    const ok = checks.some((check) => check.name === 'real memory' && check.ok);
    terminal.print(values.json ? JSON.stringify({ ok, checks }) : renderDoctor(checks).trimEnd());
    return ok ? 0 : 1;
  },
};

// A search done alone, and the same in parts, without threads: each part goes through JSON, as to another machine.
import { settingsOf } from '../../src/options.ts';
import { prepare } from '../../src/run/program.ts';
import { atOnce } from '../../src/search/pace.ts';
import type { Partner } from '../../src/search/partner.ts';
import { Search, type Settings } from '../../src/search/search.ts';
import type { ExploreOptions, Scenario } from '../../src/types.ts';
import { Sum } from '../../src/work/unit.ts';

export const WITHOUT_END = { executions: Number.MAX_SAFE_INTEGER, ms: Number.MAX_SAFE_INTEGER };

export interface Numbers {
  readonly traces: number;
  readonly blocked: number;
  readonly failed: number;
  readonly finals: readonly number[];
  readonly crashPoints: number;
  readonly isExhaustive: boolean;
}

export function numbersOf({ counts, crashPoints, isExhaustive, found }: Search): Numbers {
  if (found !== undefined) throw new Error(`${found.failure.kind}: ${found.failure.text}`);
  const { traces, blocked, failed, finals } = counts;
  return { traces, blocked, failed, finals: [...finals].sort(), crashPoints, isExhaustive };
}

export interface Both {
  readonly alone: Numbers;
  readonly inParts: Numbers;
  /** How many searches were cut into parts, and into how many. */
  readonly shared: readonly number[];
}

const COUNTING = { ended() {}, again() {} };

export function aloneAndInParts(scenario: Scenario, options: ExploreOptions, wanted: number): Both {
  const settings = settingsOf(scenario, { mode: 'exhaustive', timeouts: 'never', budget: WITHOUT_END, ...options });
  const program = prepare(scenario, settings.memory);
  const alone = new Search(program, settings, COUNTING);
  atOnce(alone.run());
  const shared: number[] = [];
  const inParts = new Search(program, settings, COUNTING, partner(scenario, settings, wanted, shared));
  atOnce(inParts.run());
  return { alone: numbersOf(alone), inParts: numbersOf(inParts), shared };
}

/** Takes over as soon as it is asked, which is after some executions: smaller programs stay alone. */
function partner(scenario: Scenario, settings: Settings, wanted: number, shared: number[]): Partner {
  return {
    wanted,
    isFree: () => true,
    share(parts) {
      shared.push(parts.length);
      const sum = new Sum();
      for (const part of parts) {
        const program = prepare(scenario, settings.memory);
        const result = new Search(program, settings, COUNTING).searchPart(JSON.parse(JSON.stringify(part)));
        sum.add(JSON.parse(JSON.stringify(result)));
      }
      return sum.total;
    },
  };
}

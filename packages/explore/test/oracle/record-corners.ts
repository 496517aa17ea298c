import { corners } from './corners.ts';
import { enumerate } from './enumerate.ts';

// Prints `corner-outcomes.ts` anew, after a corner was added: node dist/test/oracle/record-corners.js > test/oracle/corner-outcomes.ts

console.log(`// All outcomes of the corners, and how many places there are to die. Printed by record-corners.ts.

export interface Known {
  readonly finished: readonly string[];
  readonly deadlocks: readonly string[];
  readonly crashPoints: number;
}

export const cornerOutcomes: Readonly<Record<string, { readonly sc: Known; readonly tso: Known }>> = {`);
for (const corner of corners) {
  const [sc, tso] = (['sc', 'tso'] as const).map((memory) => {
    const { crash } = corner;
    const { finished, deadlocks, crashPoints } = enumerate(corner, {
      memory,
      ...(crash === undefined ? {} : { crash }),
    });
    return { finished: [...finished].sort(), deadlocks: [...deadlocks].sort(), crashPoints };
  });
  console.log(`  '${corner.name}': ${JSON.stringify({ sc, tso })},`);
}
console.log('};');

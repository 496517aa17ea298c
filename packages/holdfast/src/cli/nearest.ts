/**
 * nearest: guesses what somebody meant who mistyped a word.
 */

/** How many letters may be wrong. */
const DISTANCE_MAX = 2;

/** The one of `words` that is most like `typed`; undefined when none is. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const [best] = words
    .map((word) => ({ word, distance: editDistance(typed, word) }))
    // Of a short word little may be wrong, or "ls" would mean "show".
    .filter(({ word, distance }) => distance <= DISTANCE_MAX && distance < word.length - 1)
    .sort((a, b) => a.distance - b.distance);
  return best?.word;
}

/** Letters to insert, remove or replace to make `b` of `a` (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

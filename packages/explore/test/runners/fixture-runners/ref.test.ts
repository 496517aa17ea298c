import { failsWith } from '@holdfast/explore';
import { expect, test } from 'vitest';
import { freeing } from './src/pair.ts';

test('holds when the last put is waited for', () => {
  expect(freeing({ waits: true })).toHoldEverywhere();
});

test('fails otherwise', () => {
  const broken = freeing({ waits: false });
  expect(broken).toFailWith('race');
  expect(broken).not.toHoldEverywhere();
  expect(() => expect(broken).toFailWith('deadlock')).toThrow(/race in scenario "free before the last put"/);
  const { story } = failsWith(broken, 'race');
  console.log(`STORY ${JSON.stringify(story.steps)}`);
});

import { test } from 'node:test';
import { failsWith, holdsEverywhere } from '@holdfast/explore';
import { freeing } from './src/pair.ts';

test('holds when the last put is waited for', () => void holdsEverywhere(freeing({ waits: true })));

test('fails otherwise', () => {
  const { story } = failsWith(freeing({ waits: false }), 'race');
  console.log(`STORY ${JSON.stringify(story.steps)}`);
});

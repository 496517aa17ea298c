// Corrupted control blocks, a short run: the same cases each time. `npm run fuzz` makes as many others as you like.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { real } from '../mem/support.ts';
import { Campaign, isFailure, tell } from './campaign.ts';
import { RealCampaign } from './real.ts';

const RUN = 1;
function run(numbers: Iterable<number>, campaign: Campaign, seed: number): void {
  for (const number of numbers) {
    const result = campaign.one(number);
    if (isFailure(result)) assert.fail(tell(result, seed));
  }
}

test('five thousand corrupted control blocks: each is refused with a reason, or repaired, or harmless', () => {
  run(Array(5000).keys(), new Campaign(RUN), RUN);
});

test('three hundred in files, opened by Region.attach', real, () => {
  using campaign = new RealCampaign(RUN);
  for (let number = 0; number < 300; number++) {
    try {
      campaign.one(number);
    } catch (error) {
      assert.fail(
        `npm run fuzz -- --seed ${RUN} --real --case ${number}: ${error instanceof Error ? error.stack : error}`,
      );
    }
  }
});

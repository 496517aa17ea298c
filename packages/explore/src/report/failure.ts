/** failure: the error that an exploration throws. */
import type { FailureKind, Story } from '../types.ts';
import { toHtml } from './html.ts';
import { toMermaid } from './mermaid.ts';
import { storyText } from './text.ts';

/**
 * What went wrong, as the shortest story that shows it: text in `message`, data in `story`.
 *
 * @example
 * try { explore(broken); } catch (error) {
 *   if (error.code === 'ERR_EXPLORE_FAILURE') writeFileSync('story.html', error.toHtml());
 * }
 */
export class ExploreFailure extends Error {
  override readonly name = 'ExploreFailure';
  readonly code = 'ERR_EXPLORE_FAILURE';
  readonly kind: FailureKind;
  readonly story: Story;

  /** @param cause the error that a thread or `end` threw, if that is what failed */
  constructor(story: Story, cause?: unknown) {
    super(storyText(story, { bare: true }), cause === undefined ? undefined : { cause });
    this.kind = story.kind;
    this.story = story;
  }

  /** The replay string: `EXPLORE_REPLAY=...`, or the option `replay`. */
  get replay(): string {
    return this.story.replay;
  }

  /** A sequence chart. */
  toMermaid(): string {
    return toMermaid(this.story);
  }

  /** A page of its own with a picture. */
  toHtml(): string {
    return toHtml(this.story);
  }
}

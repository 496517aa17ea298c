/**
 * mermaid: a story as a sequence chart in the language of mermaid, for pull requests and issues.
 *
 * Threads are participants, memory is one too: a write is an arrow to it, a read an arrow from it. A notify and a spawn are
 * arrows between threads. The failing step stands in a red frame.
 */
import type { Story, StoryStep } from '../types.ts';
import { labeller, labelText, noteOf } from './label.ts';
import { type Links, linksOf, writesMemory } from './links.ts';
import { storyTitle, threadsOf } from './text.ts';
import { plain } from './width.ts';

const READS = new Set(['load', 'wait', 'until', 'cas', 'atomically']);

/** The chart, without the fence around it. */
export function toMermaid(story: Story): string {
  const links = linksOf(story);
  const labelOf = labeller(story, links);
  const threads = threadsOf(story);
  const id = new Map(threads.map((thread, i) => [thread, `t${i}`]));
  const lines = ['sequenceDiagram', `  %% ${escapeMermaid(storyTitle(story))}`];
  // Memory stands in the middle, so that arrows stay short.
  const participants = threads.map((thread) => `  participant ${id.get(thread)} as ${escapeMermaid(thread)}`);
  participants.splice(Math.ceil(threads.length / 2), 0, '  participant mem as memory');
  lines.push(...participants);
  for (const step of story.steps) {
    const failed = links.failed.has(step.step);
    const me = id.get(step.thread)!;
    if (failed) lines.push('  rect rgba(220, 40, 40, 0.25)');
    lines.push(`  ${arrow(step, me, links)}: ${step.step}. ${escapeMermaid(labelText(labelOf(step)))}`);
    const note = noteOf(step);
    if (failed) lines.push(`  Note over ${me}: ✗ ${escapeMermaid(note || story.kind)}`, '  end');
    else if (note !== '') lines.push(`  Note over ${me}: ${escapeMermaid(note)}`);
  }
  for (const { thread, waitsFor } of story.stuck) {
    const me = id.get(thread);
    if (me !== undefined) lines.push(`  Note over ${me}: ✗ waits for ${escapeMermaid(waitsFor)}`);
  }
  if (!story.steps.some((s) => links.failed.has(s.step)) && story.message !== '') {
    const all = threads.length < 2 ? (id.get(threads[0]!) ?? 'mem') : `t0,t${threads.length - 1}`;
    lines.push(`  Note over ${all}: ✗ ${escapeMermaid(story.message)}`);
  }
  return lines.join('\n');

  function arrow(step: StoryStep, me: string, known: Links): string {
    if (step.op === 'wake') {
      const notify = story.steps.find((s) => s.step === known.wakerOf.get(step.step));
      return notify === undefined ? `${me}->>${me}` : `${id.get(notify.thread)}-->>${me}`;
    }
    if (step.op === 'spawn' && step.location !== undefined && id.has(step.location)) {
      return `${me}-->>${id.get(step.location)}`;
    }
    if (known.buffered.has(step.step)) return `${me}->>${me}`;
    if (step.actor === 'flush') return `${me}-)mem`;
    if (step.op === 'map' || step.op === 'unmap' || writesMemory(step, known.buffered)) return `${me}->>mem`;
    return READS.has(step.op) ? `mem-->>${me}` : `${me}->>${me}`;
  }
}

/** What a line of mermaid cannot have becomes one of its entities. */
export function escapeMermaid(text: string): string {
  return (
    plain(text)
      .replace(/[#;<>"%&{}]/g, (c) => `#${c.charCodeAt(0)};`)
      // Lines that seem to begin a style lose their last character in mermaid's preprocessing.
      .replace(/style|classDef/gi, (word) => `#${word.charCodeAt(0)};${word.slice(1)}`)
  );
}

/** Pages and pictures, by structure: what they look like is for eyes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHtml } from '../../src/report/html.ts';
import { toSvg } from '../../src/report/svg.ts';
import type { Story } from '../../src/types.ts';
import { all, CWD, deadlock, everything, hostile, race, report, storeBuffers, useAfterUnmap } from './stories.ts';

const html = (story: Story | Story[]) => toHtml(story, undefined, { cwd: CWD });
const svg = (story: Story) => toSvg(story, { cwd: CWD });
const VOID = new Set(['meta', 'br', 'link', 'img']);

/** A reader of XML that is strict about what these files use: nesting, quotes, entities, double attributes. */
function assertWellFormed(text: string): void {
  const open: string[] = [];
  const body = text.replace(/^<!doctype html>/, '').replace(/<(style|script)>\n[\s\S]*?<\/\1>/g, '');
  let at = 0;
  for (const match of body.matchAll(/<(\/?)([A-Za-z][\w-]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>/g)) {
    assertText(body.slice(at, match.index));
    at = match.index + match[0].length;
    const [, close, name, attributes, selfClosed] = match;
    if (close === '/') assert.equal(name, open.pop(), body.slice(Math.max(0, match.index - 80), at));
    else if (selfClosed !== '/' && !VOID.has(name!)) open.push(name!);
    const names = [...attributes!.matchAll(/\s+([\w:-]+)(?:="([^"]*)")?/g)].map(([, key, value]) => {
      assertText(value ?? '');
      return key;
    });
    assert.equal(new Set(names).size, names.length, match[0]);
  }
  assertText(body.slice(at));
  assert.deepEqual(open, []);
}

function assertText(text: string): void {
  assert.doesNotMatch(text, /[<]|&(?!(?:amp|lt|gt|quot|#39);)/);
  assert.doesNotMatch(text, /(?![\t\n])\p{Cc}/u);
}

test('toSvg is well-formed for every story', () => {
  for (const story of Object.values(all)) {
    assertWellFormed(svg(story));
    assert.match(svg(story), /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    assert.doesNotMatch(svg(story), /NaN|undefined|Infinity/);
  }
});

test('toHtml is well-formed for every story, and for all of them on one page', () => {
  for (const story of Object.values(all)) assertWellFormed(html(story));
  assertWellFormed(toHtml(Object.values(all), report, { cwd: CWD }));
  assertWellFormed(toHtml([], report));
});

test('every step is in the picture, with label and focus, and in the table', () => {
  for (const story of Object.values(all)) {
    const page = html(story);
    for (const { step } of story.steps) {
      assert.match(
        page,
        new RegExp(`<g class="step[^"]*" data-step="${step}" tabindex="0" role="img" aria-label="step ${step}, `),
      );
      assert.match(page, new RegExp(`<tr data-step="${step}"[^>]*><th scope="row">${step}</th>`));
    }
    assert.equal(page.match(/<tr data-step/g)?.length ?? 0, story.steps.length);
  }
});

test('names and notes cannot become markup', () => {
  for (const text of [
    html(hostile),
    svg(hostile),
    toHtml([hostile, hostile], { ...report, scenario: hostile.scenario }),
  ]) {
    const outside = text.replace(/<script>\nfor [\s\S]*?<\/script>/, '');
    assert.doesNotMatch(outside, /<script|<img|<b>|<i>|<svg onload/);
    assert.match(outside, /&lt;script&gt;alert\(3\)/);
    assert.doesNotMatch(outside, /\u202e|(?!\n)\p{Cc}/u);
  }
});

test('a page loads nothing: no address, and a policy that forbids it', () => {
  const page = html(everything);
  assert.doesNotMatch(page, /https?:|url\(|@import|src=|<link/);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'/);
  assert.doesNotMatch(svg(everything).replace('http://www.w3.org/2000/svg', ''), /https?:|url\(|@import|href/);
});

test('a page has a title, a language, headings, the words, the stacks and the replay string', () => {
  const page = html(deadlock);
  assert.match(page, /<html lang="en">/);
  assert.match(page, /<title>deadlock in scenario &quot;two locks, two orders&quot;<\/title>/);
  assert.match(page, /<h1[^>]*><span class="kind">deadlock<\/span>/);
  assert.match(
    page,
    /<dt>left<\/dt><dd>waits for a notify of lockB, asleep since step 6<pre>at Lock\.lock \(src\/lock\.ts:14:15\)/,
  );
  assert.match(page, /<code>lockA<\/code> = <code>ctl\[0\]<\/code>/);
  assert.match(page, /<code>EXPLORE_REPLAY=x1:AQAAAAE=<\/code>/);
  assert.match(page, /prefers-color-scheme:dark/);
  assert.match(page, /@media print/);
});

test('ids on a page of several stories are unique, and all links lead to one', () => {
  const page = html([deadlock, deadlock, race]);
  const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const [, id] of page.matchAll(/(?:href="#|labelledby=")([^"]+)"/g)) assert.ok(ids.includes(id), id);
});

function arrows(story: Story): string[] {
  const found = svg(story).matchAll(/<g class="arrow (\w+)" data-from="(\d+)" data-to="(\d+)">/g);
  return [...found].map(([, kind, from, to]) => `${kind} ${from} ${to}`).sort();
}

test('arrows: from writes to reads, notify to wake, spawn to first step, cause to failure', () => {
  assert.deepEqual(arrows(everything), ['sees 14 15', 'sees 5 12', 'sees 9 13', 'starts 1 4', 'wakes 6 11']);
  assert.deepEqual(arrows(useAfterUnmap), ['cause 4 5']);
  assert.deepEqual(arrows(race), ['cause 1 5', 'sees 3 4']);
});

test('a late store is a bar from the store to its flush, or to the end', () => {
  const bars = [...svg(storeBuffers).matchAll(/<g class="buffer" data-from="(\d*)" data-to="(\d*)">/g)];
  assert.deepEqual(
    bars.map(([, from, to]) => `${from}-${to}`),
    ['1-5', '3-'],
  );
});

test('cards do not overlap, and arrows stay inside the picture', () => {
  for (const story of Object.values(all)) {
    const text = svg(story);
    const [, width, height] = /width="(\d+)" height="(\d+)"/.exec(text)!;
    let below = 0;
    for (const [, x, y, w, h] of text.matchAll(
      /<rect class="card" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g,
    )) {
      assert.ok(Number(y) >= below);
      below = Number(y) + Number(h);
      assert.ok(Number(x) >= 0 && Number(x) + Number(w) <= Number(width) && below <= Number(height));
    }
    for (const [, path] of text.matchAll(/<g class="arrow[^>]*><path d="([^"]+)"/g)) {
      for (const [, x] of path!.matchAll(/[HM](-?[\d.]+)/g)) assert.ok(Number(x) >= 0 && Number(x) <= Number(width));
    }
  }
});

test('a report stands first, and is green only where everything holds and no story says otherwise', () => {
  assert.match(toHtml([], report), /<section class="report good"[^>]*>\n<p class="verdict">holds: 31,526 traces/);
  assert.match(
    toHtml([], { ...report, exhaustive: false }),
    /<section class="report open"[^>]*>\n<p class="verdict">no failure in/,
  );
  assert.match(toHtml(race, report), /<section class="report open"/);
});

/**
 * svg: the picture of a story.
 *
 * One element, without scripts and without anything loaded from elsewhere; light or dark as the reader's system is. Every step is
 * a group that can take the focus, with its text as label and as tooltip, so that the picture can be read without seeing it.
 */
import type { Story } from '../types.ts';
import { labelText, noteOf } from './label.ts';
import {
  type Arrow,
  BADGE_WIDTH,
  type BufferBar,
  type Card,
  LABEL_BASELINE,
  type Lane,
  type Layout,
  layoutOf,
  SMALL_LINE_HEIGHT,
  stuckHeight,
} from './layout.ts';
import { escapeMarkup } from './markup.ts';
import { messageLines, storyOrigin, storyTitle } from './text.ts';
import { clipEnd, plain, wrap } from './width.ts';

export interface SvgOptions {
  /** File names are told relative to it; default the working directory. */
  readonly cwd?: string;
}

/** The picture as a file of its own. */
export function toSvg(story: Story, options: SvgOptions = {}): string {
  return drawStory(story, { cwd: options.cwd ?? process.cwd(), id: 'story', alone: true });
}

export interface DrawOptions {
  readonly cwd: string;
  /** Prefix of the ids inside: two pictures on a page must not share them. */
  readonly id: string;
  /** With the name space, the style and a heading: a file, not a part of a page. */
  readonly alone: boolean;
}

/** The colours and lines, for the picture alone and for pages with pictures. */
export const PICTURE_STYLE = `
.hx{--paper:#fbfbfd;--card:#fff;--ink:#1c2230;--soft:#5d6678;--line:#d4d9e3;--zebra:#f2f4f9;--bad:#c8102e;--bad-soft:#fdecee;--note:#8a5a00;
--sees:#2563c9;--wakes:#0f8a5f;--starts:#7a5cc9;--buffer:#c77700;
--t0:#2f6fdb;--t1:#d9622b;--t2:#1d9a6c;--t3:#9b51c4;--t4:#b8860b;--t5:#d1437a}
@media (prefers-color-scheme:dark){.hx{--paper:#14171e;--card:#1e232d;--ink:#e6e9f0;--soft:#9aa4b6;--line:#363d4b;--zebra:#191d25;--bad:#ff6b7d;--bad-soft:#3a1d24;--note:#e3b04b;
--sees:#77a8ff;--wakes:#4cc997;--starts:#b39bff;--buffer:#f0a83c;
--t0:#6ea2ff;--t1:#ff9563;--t2:#4fcf9e;--t3:#cf8ff2;--t4:#dcb04a;--t5:#f57fae}}
@media print{.hx{--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--zebra:#fff;--bad:#b00020;--bad-soft:#fff0f1;--note:#6b4600;--sees:#1d4fa3;--wakes:#0b6b49;--starts:#5d43a3;--buffer:#9a5b00}}
.hx text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:var(--ink)}
.hx .h1{font-weight:700;font-size:15px;fill:var(--bad)}.hx .h2{fill:var(--ink)}.hx .h3{fill:var(--soft);font-size:11px}
.hx .paper{fill:var(--paper)}
.hx .zebra{fill:var(--zebra)}
.hx .life{stroke:var(--line);stroke-width:2}
.hx .sleep{stroke:var(--soft);stroke-width:5;stroke-dasharray:2 5;stroke-linecap:round;opacity:.7}
.hx .name{font-weight:700;fill:#fff}.hx .dark-name{fill:var(--card)}
.hx .step>rect.card{fill:var(--card);stroke:var(--line)}
.hx .step .num{font-size:10.5px;fill:var(--soft);text-anchor:end}
.hx .label{white-space:pre}.hx .step .op{font-weight:700}
.hx .step .small{font-size:10.5px;fill:var(--soft)}
.hx .step .note{font-size:10.5px;fill:var(--note)}
.hx .step.helper>rect.card{stroke-dasharray:4 3;fill:var(--paper)}.hx .step.helper .op{font-weight:400;font-style:italic}
.hx .step.own{opacity:.62}
.hx .step.failed>rect.card{fill:var(--bad-soft);stroke:var(--bad);stroke-width:2}
.hx .step.failed .note{fill:var(--bad);font-weight:700}.hx .step.failed .num{fill:var(--bad);font-weight:700}
.hx .step{cursor:default;outline:none}
.hx .step:hover>rect.card,.hx .step.on>rect.card{stroke:var(--ink);stroke-width:1.5}
.hx .step:focus-visible>rect.card{stroke:var(--sees);stroke-width:3}
.hx .arrow,.hx .buffer .bar{pointer-events:none}.hx .arrow path{fill:none;stroke-width:1.6}.hx .arrow .tip{stroke:none}
.hx .sees path{stroke:var(--sees)}.hx .sees .tip{fill:var(--sees)}
.hx .wakes path{stroke:var(--wakes)}.hx .wakes .tip{fill:var(--wakes)}
.hx .starts path{stroke:var(--starts);stroke-dasharray:6 3}.hx .starts .tip{fill:var(--starts)}
.hx .cause path{stroke:var(--bad);stroke-width:2;stroke-dasharray:5 3}.hx .cause .tip{fill:var(--bad)}
.hx .arrow circle{stroke:none}.hx .sees circle{fill:var(--sees)}.hx .wakes circle{fill:var(--wakes)}.hx .starts circle{fill:var(--starts)}.hx .cause circle{fill:var(--bad)}
.hx .arrow.on path{stroke-width:3}.hx.focus .arrow:not(.on){opacity:.25}
.hx .buffer .well{fill:var(--buffer);opacity:.09}
.hx .buffer .bar{fill:var(--buffer);opacity:.75}.hx .buffer path{stroke:var(--buffer);stroke-width:1.6;fill:none}
.hx .buffer .open{fill:var(--card);stroke:var(--buffer);stroke-width:1.6}
.hx .buffer text{font-size:9.5px;fill:var(--buffer)}
.hx .stuck rect{fill:var(--bad-soft);stroke:var(--bad);stroke-dasharray:5 3}.hx .stuck text{font-size:10.5px;fill:var(--bad)}
.hx .died{stroke:var(--bad);stroke-width:2.5}
`;

/** The colour of a thread, by its number. */
export function laneColor(lane: number): string {
  return `var(--t${lane % 6})`;
}

/** All that is known of a step, on one line: label for those who cannot see, tooltip for those who can. */
export function describeStep(card: Pick<Card, 'step' | 'label' | 'failed' | 'fullPlace'>): string {
  const note = noteOf(card.step);
  const parts = [`step ${card.step.step}, ${plain(card.step.thread)}: ${labelText(card.label)}`];
  if (card.failed) parts.push('✗ failed');
  if (note !== '') parts.push(note);
  if (card.fullPlace !== '') parts.push(card.fullPlace);
  return parts.join(' — ');
}

export function drawStory(story: Story, options: DrawOptions): string {
  const heading = options.alone
    ? [storyTitle(story), ...messageLines(story), storyOrigin(story)].flatMap((line) => wrap(line, 110))
    : [];
  const top = heading.length === 0 ? 10 : 22 + heading.length * 18;
  const layout = layoutOf(story, options.cwd, top);
  const width = Math.ceil(
    Math.max(layout.width, ...heading.map((line, i) => 28 + line.length * (i === 0 ? 9.2 : 7.4))),
  );
  const height = Math.ceil(layout.height);
  const parts = [
    `<svg${options.alone ? ' xmlns="http://www.w3.org/2000/svg"' : ''} class="hx" role="group" aria-labelledby="${options.id}-title" ` +
      `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<title id="${options.id}-title">${escapeMarkup(`Story of a failure: ${storyTitle(story)}`)}</title>`,
    options.alone ? `<style>${PICTURE_STYLE}</style>` : '',
    `<rect class="paper" width="${width}" height="${height}" rx="10"/>`,
    ...heading.map((line, i) => headingLine(line, i, heading.length)),
    ...layout.cards.map((card, i) => zebra(card, i, width)),
    ...layout.lanes.map((lane) => lifeLine(lane, top)),
    ...layout.lanes.filter((lane) => lane.bufferWidth > 0).map((lane) => well(lane, top, layout)),
    ...layout.sleeps.map(
      (s) => `<line class="sleep" x1="${r(s.x)}" y1="${r(s.y1 + 4)}" x2="${r(s.x)}" y2="${r(s.y2 - 4)}"/>`,
    ),
    ...layout.lanes.map((lane, i) => laneHead(lane, i, top)),
    ...layout.bars.map(bufferBar),
    ...layout.cards.map(drawCard),
    ...layout.arrows.map(drawArrow),
    ...layout.lanes.map(laneEnd),
    '</svg>',
  ];
  return parts.filter((part) => part !== '').join('\n');
}

/** Kinds of things that are in the picture of this story, for its legend. */
export function kindsIn(story: Story, cwd: string): Set<string> {
  const layout = layoutOf(story, cwd, 0);
  const kinds = new Set<string>(layout.arrows.map((arrow) => arrow.kind));
  if (layout.bars.length > 0) kinds.add('buffer');
  if (layout.sleeps.length > 0) kinds.add('sleep');
  if (layout.cards.some((card) => card.label.helper)) kinds.add('helper');
  if (layout.cards.some((card) => card.own)) kinds.add('own');
  return kinds;
}

function r(n: number): string {
  return String(Math.round(n * 10) / 10);
}

function headingLine(line: string, i: number, count: number): string {
  const style = i === 0 ? 'h1' : i === count - 1 ? 'h3' : 'h2';
  return `<text class="${style}" x="14" y="${26 + i * 18}">${escapeMarkup(line)}</text>`;
}

function zebra(card: Card, i: number, width: number): string {
  if (i % 2 === 1) return '';
  return `<rect class="zebra" x="4" y="${r(card.y - 4)}" width="${width - 8}" height="${r(card.height + 8)}" rx="4"/>`;
}

function lifeLine(lane: Lane, top: number): string {
  return `<line class="life" x1="${r(lane.center)}" y1="${top + 14}" x2="${r(lane.center)}" y2="${r(lane.endY)}"/>`;
}

function laneHead(lane: Lane, i: number, top: number): string {
  const name = clipEnd(plain(lane.thread), Math.floor((lane.width - 20) / 7.6));
  return (
    `<g><rect x="${r(lane.x)}" y="${top}" width="${r(lane.width)}" height="28" rx="14" style="fill:${laneColor(i)}"/>` +
    `<text class="dark-name" style="font-weight:700" text-anchor="middle" x="${r(lane.center)}" y="${top + 18.5}">${escapeMarkup(name)}</text></g>`
  );
}

function laneEnd(lane: Lane): string {
  const { center: x, endY: y } = lane;
  if (lane.stuck.length > 0) {
    const lines = lane.stuck.map(
      (line, i) =>
        `<text x="${r(lane.x + 10)}" y="${r(lane.stuckY + 17 + i * SMALL_LINE_HEIGHT)}">${escapeMarkup(line)}</text>`,
    );
    const box = `<rect x="${r(lane.x)}" y="${r(lane.stuckY)}" width="${r(lane.width)}" height="${stuckHeight(lane.stuck)}" rx="6"/>`;
    return `<g class="stuck">${box}${lines.join('')}</g>`;
  }
  if (!lane.died) return `<line class="life" x1="${r(x - 9)}" y1="${r(y)}" x2="${r(x + 9)}" y2="${r(y)}"/>`;
  const cross = `M${r(x - 7)} ${r(y + 4)}l14 14m0 -14l-14 14`;
  return `<path class="died" d="${cross}" fill="none"/>`;
}

function well(lane: Lane, top: number, layout: Layout): string {
  const width = lane.wellWidth;
  const x = lane.x - 4 - width;
  const end = layout.lanes.reduce((y, l) => Math.max(y, l.stuckY), 0);
  const words = ['store', 'buffer'].map(
    (word, i) => `<text text-anchor="end" x="${r(lane.x - 4)}" y="${top + 11 + i * 11}">${word}</text>`,
  );
  const box = `<rect class="well" x="${r(x)}" y="${top + 28}" width="${r(width)}" height="${r(end - top - 28)}" rx="5"/>`;
  return `<g class="buffer"><title>store buffer of ${escapeMarkup(plain(lane.thread))}</title>${box}${words.join('')}</g>`;
}

function bufferBar(bar: BufferBar): string {
  const height = Math.max(6, bar.y2 - bar.y1);
  const x = bar.x - 4;
  const join = (y: number) => `<path d="M${r(bar.cardX)} ${r(y)}H${r(bar.x + 4)}"/>`;
  const end =
    bar.flush === undefined ? `<circle class="open" cx="${r(bar.x)}" cy="${r(bar.y2)}" r="4"/>` : join(bar.y2 - 1);
  return (
    `<g class="buffer" data-from="${bar.store}" data-to="${bar.flush ?? ''}">${join(bar.y1 + 1)}` +
    `<rect class="bar" x="${r(x)}" y="${r(bar.y1)}" width="8" height="${r(height)}" rx="4"/>${end}</g>`
  );
}

function drawArrow(arrow: Arrow): string {
  const [[x1, y1], [x], [, y2], [x2]] = arrow.points as [
    [number, number],
    [number, number],
    [number, number],
    [number, number],
  ];
  const leftwards = x2 < x;
  const head = leftwards ? 7 : -7;
  const bend = Math.min(7, Math.abs(y2 - y1) / 2, Math.abs(x - x1));
  const out = x > x1 ? 1 : -1;
  const back = leftwards ? -1 : 1;
  const path =
    `M${r(x1)} ${r(y1)}H${r(x - out * bend)}Q${r(x)} ${r(y1)} ${r(x)} ${r(y1 + bend)}` +
    `V${r(y2 - bend)}Q${r(x)} ${r(y2)} ${r(x + back * bend)} ${r(y2)}H${r(x2 + head)}`;
  const tip = `M${r(x2)} ${r(y2)}l${head} -4.5v9z`;
  return (
    `<g class="arrow ${arrow.kind}" data-from="${arrow.from}" data-to="${arrow.to}"><path d="${path}"/>` +
    `<circle cx="${r(x1)}" cy="${r(y1)}" r="3"/><path class="tip" d="${tip}"/></g>`
  );
}

function drawCard(card: Card): string {
  const { x, y, width, height, step, label } = card;
  const classes = ['step', card.failed ? 'failed' : '', label.helper ? 'helper' : '', card.own ? 'own' : ''];
  const text = describeStep(card);
  const textX = x + BADGE_WIDTH;
  const room = Math.floor((width - BADGE_WIDTH - 6) / 7.25);
  const rest = clipEnd(card.title.slice(label.op.length), Math.max(1, room - label.op.length));
  let line = y + LABEL_BASELINE;
  const small: string[] = [];
  for (const place of card.small) {
    line += SMALL_LINE_HEIGHT;
    small.push(`<text class="small" x="${r(textX)}" y="${r(line)}">${escapeMarkup(place)}</text>`);
  }
  if (card.notes.length > 0) line += 2;
  for (const note of card.notes) {
    line += SMALL_LINE_HEIGHT;
    small.push(`<text class="note" x="${r(textX)}" y="${r(line)}">${escapeMarkup(note)}</text>`);
  }
  return [
    `<g class="${classes.filter((c) => c !== '').join(' ')}" data-step="${step.step}" tabindex="0" role="img" aria-label="${escapeMarkup(text)}">`,
    `<title>${escapeMarkup(text)}</title>`,
    `<rect class="card" x="${r(x)}" y="${r(y)}" width="${r(width)}" height="${r(height)}" rx="${label.helper ? 13 : 6}"/>`,
    label.helper
      ? ''
      : `<path d="M${r(x + 5)} ${r(y + 0.5)}a5 5 0 0 0 -5 5v${r(height - 11)}a5 5 0 0 0 5 5z" style="fill:${card.failed ? 'var(--bad)' : laneColor(card.lane)}"/>`,
    `<text class="num" x="${r(x + BADGE_WIDTH - 7)}" y="${r(y + LABEL_BASELINE - 0.5)}">${step.step}</text>`,
    `<text class="label" x="${r(textX)}" y="${r(y + LABEL_BASELINE)}"><tspan class="op">${escapeMarkup(label.op)}</tspan>${escapeMarkup(rest)}</text>`,
    ...small,
    '</g>',
  ]
    .filter((part) => part !== '')
    .join('');
}

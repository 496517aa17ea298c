/**
 * html: stories as one page: a file that needs nothing else, to attach to a failed build.
 *
 * For each story its picture, and the same as a table for those who do not see pictures, or search, or copy. The script only adds
 * comfort (a card with the values of a step under the pointer or the focus, arrow keys, copying); without it all is there. A
 * policy in the page forbids loading anything.
 */
import type { Report, Story } from '../types.ts';
import { effectText, labeller, noteOf } from './label.ts';
import { linksOf } from './links.ts';
import { escapeMarkup as e } from './markup.ts';
import { placeOf, relativeStackLine } from './place.ts';
import { reportText, verdict } from './report-text.ts';
import { drawStory, kindsIn, laneColor, PICTURE_STYLE } from './svg.ts';
import { storyOrigin, storyTitle, threadsOf } from './text.ts';
import { plain } from './width.ts';

export interface HtmlOptions {
  /** File names are told relative to it; default the working directory. */
  readonly cwd?: string;
}

/** The page. With a report, its verdict and remarks stand first. */
export function toHtml(stories: Story | readonly Story[], report?: Report, options: HtmlOptions = {}): string {
  const all = Array.isArray(stories) ? (stories as readonly Story[]) : [stories as Story];
  const cwd = options.cwd ?? process.cwd();
  const title = titleOf(all, report);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${e(title)}</title>
<style>${PICTURE_STYLE}${PAGE_STYLE}</style>
</head>
<body>
<main>
${report === undefined ? '' : reportSection(report, all.length > 0)}
${all.length > 1 ? contents(all) : ''}
${all.map((story, i) => storySection(story, i, cwd)).join('\n')}
</main>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function titleOf(stories: readonly Story[], report: Report | undefined): string {
  if (stories.length === 1) return storyTitle(stories[0]!);
  if (stories.length > 1) return `${stories.length} stories of failures`;
  return report === undefined ? 'No stories' : `${plain(report.scenario)}: ${verdict(report)}`;
}

/** A search that told a story has found something, whatever its numbers say. */
function reportSection(report: Report, failed: boolean): string {
  const [first, ...rest] = reportText(report).split('\n');
  const good = !failed && report.exhaustive && report.executions > 0;
  const items = rest.map((line) => `<li>${e(line.trim())}</li>`).join('');
  return `<section class="report ${good ? 'good' : 'open'}" aria-label="What was searched">
<p class="verdict">${e(first!)}</p><ul>${items}</ul></section>`;
}

function contents(stories: readonly Story[]): string {
  const items = stories.map((story, i) => `<li><a href="#s${i}">${e(storyTitle(story))}</a></li>`).join('');
  return `<nav aria-label="Stories"><ol>${items}</ol></nav>`;
}

function storySection(story: Story, index: number, cwd: string): string {
  const id = `s${index}`;
  const message = story.message.trim().split('\n').map(plain).join('\n');
  return `<article id="${id}" aria-labelledby="${id}-h">
<header>
<h1 id="${id}-h"><span class="kind">${e(story.kind)}</span> in scenario “${e(plain(story.scenario))}”</h1>
${message === '' ? '' : `<p class="message">${e(message)}</p>`}
<p class="origin">${e(storyOrigin(story))}</p>
</header>
${story.steps.length === 0 ? '<p class="origin">It failed before any step.</p>' : picture(story, id, cwd)}
${story.steps.length === 0 ? '' : table(story, id, cwd)}
${stuck(story, id, cwd)}
${words(story, id)}
${replay(story, id)}
</article>`;
}

function picture(story: Story, id: string, cwd: string): string {
  return `<figure>
<p class="skip"><a href="#${id}-table">Skip the picture: the steps as a table</a></p>
<div class="scroll" role="region" tabindex="0" aria-label="Picture of the story, time goes down">
${drawStory(story, { cwd, id, alone: false })}
<div class="tip-card" aria-hidden="true" hidden></div>
</div>
<figcaption>${legend(story, cwd)}</figcaption>
</figure>`;
}

const LEGEND: readonly (readonly [kind: string, text: string])[] = [
  ['sees', 'a write and the read that saw it'],
  ['wakes', 'a notify and who it woke'],
  ['starts', 'starts a thread'],
  ['cause', 'what the failure goes back to'],
  ['buffer', 'a store waits in its store buffer, unseen by others'],
  ['sleep', 'asleep'],
  ['helper', 'done for the thread, not by it'],
  ['own', 'pale: nobody else touches it'],
];

function legend(story: Story, cwd: string): string {
  const kinds = kindsIn(story, cwd);
  const items = LEGEND.filter(([kind]) => kinds.has(kind)).map(
    ([kind, text]) => `<li><span class="key ${kind}" aria-hidden="true"></span>${text}</li>`,
  );
  return `<ul class="legend hx">${items.join('')}</ul>`;
}

function table(story: Story, id: string, cwd: string): string {
  const links = linksOf(story);
  const labelOf = labeller(story, links);
  const lanes = threadsOf(story);
  const rows = story.steps.map((step) => {
    const label = labelOf(step);
    const failed = links.failed.has(step.step);
    const note = noteOf(step);
    const cell = step.cell !== undefined && step.cell !== step.location ? ` <small>${e(plain(step.cell))}</small>` : '';
    const told = failed ? `<strong class="bad">✗ ${e(note || 'failed')}</strong>` : e(note);
    return `<tr data-step="${step.step}"${failed ? ' class="failed"' : ''}><th scope="row">${step.step}</th>\
<td><span class="dot" style="background:${laneColor(lanes.indexOf(step.thread))}" aria-hidden="true"></span>${e(plain(step.thread))}</td>\
<td><code>${e(label.op)}</code></td><td><code>${e(label.subject)}</code>${cell}</td><td><code>${e(effectText(label))}</code></td>\
<td><code>${e(placeOf(step, cwd))}</code></td><td>${told}</td></tr>`;
  });
  return `<section><h2 id="${id}-table">The steps</h2>
<div class="scroll" role="region" tabindex="0" aria-labelledby="${id}-table"><table class="steps hx">
<caption class="unseen">Steps of the story, in time</caption>
<thead><tr><th scope="col">step</th><th scope="col">thread</th><th scope="col">does</th><th scope="col">to</th><th scope="col">values</th><th scope="col">place</th><th scope="col">note</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody></table></div></section>`;
}

function stuck(story: Story, id: string, cwd: string): string {
  if (story.stuck.length === 0) return '';
  const items = story.stuck.map(({ thread, waitsFor, stack }) => {
    const lines = stack.map((line) => e(relativeStackLine(line, cwd))).join('\n');
    return `<dt>${e(plain(thread))}</dt><dd>waits for ${e(plain(waitsFor))}${lines === '' ? '' : `<pre>${lines}</pre>`}</dd>`;
  });
  return `<section><h2 id="${id}-stuck">Who cannot move</h2><dl class="stuck-list">${items.join('')}</dl></section>`;
}

function words(story: Story, id: string): string {
  const named = story.words.filter((w) => w.name !== w.cell);
  if (named.length === 0) return '';
  const items = named
    .map((w) => `<li><code>${e(plain(w.name))}</code> = <code>${e(plain(w.cell))}</code></li>`)
    .join('');
  return `<section><h2 id="${id}-words">The words</h2><ul class="words">${items}</ul></section>`;
}

function replay(story: Story, id: string): string {
  if (story.replay === '') return '';
  return `<section><h2 id="${id}-replay">Replay</h2>
<p class="replay"><code>EXPLORE_REPLAY=${e(plain(story.replay))}</code> <button type="button" class="copy" hidden>Copy</button></p></section>`;
}

const PAGE_STYLE = `
:root{--bg:#eef0f5;--panel:#fff;--text:#1c2230;--muted:#5d6678;--rule:#d9dde6;--red:#c8102e;--green:#0f7a4f;--link:#1f5fc4;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--bg:#0d0f14;--panel:#161a22;--text:#e6e9f0;--muted:#9aa4b6;--rule:#2d3442;--red:#ff6b7d;--green:#4cc997;--link:#8ab4ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 16px 64px}
article,.report,nav{background:var(--panel);border:1px solid var(--rule);border-radius:12px;padding:20px 24px;margin:0 0 24px}
h1{font-size:21px;line-height:1.3;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:15px;margin:26px 0 8px}
.kind{color:var(--panel);background:var(--red);border-radius:6px;padding:1px 9px;font-size:.86em;white-space:nowrap}
.message{color:var(--red);font-weight:600;margin:4px 0;white-space:pre-wrap;overflow-wrap:anywhere}
.origin{color:var(--muted);margin:2px 0}
.verdict{font-weight:700;margin:0}.good .verdict{color:var(--green)}.report ul{margin:6px 0 0;padding-left:18px;color:var(--muted)}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
a{color:var(--link)}
figure{margin:16px 0 0}
.scroll{overflow:auto;position:relative;border:1px solid var(--rule);border-radius:10px}
figure .scroll{max-height:86vh;text-align:center}
figure svg{display:block;margin:0 auto}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip a{position:absolute;left:-9999px}.skip a:focus{position:static}.skip{margin:0}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;list-style:none;margin:10px 0 0;padding:0;color:var(--muted);font-size:13px}
.legend li{display:flex;align-items:center;gap:7px}
.key{display:inline-block;width:24px;height:0;border-top:2px solid}
.key.sees{border-color:var(--sees)}.key.wakes{border-color:var(--wakes)}.key.starts{border-color:var(--starts);border-top-style:dashed}
.key.cause{border-color:var(--red);border-top-style:dashed}
.key.buffer{width:8px;height:16px;border:0;border-radius:4px;background:var(--buffer)}
.key.sleep{width:0;height:16px;border:0;border-left:4px dotted var(--muted)}
.key.helper{width:22px;height:13px;border:1px dashed var(--muted);border-radius:7px}
.key.own{width:22px;height:13px;border:1px solid var(--rule);border-radius:3px;opacity:.6}
.tip-card{position:absolute;z-index:2;max-width:420px;text-align:left;background:var(--text);color:var(--panel);border-radius:8px;padding:8px 12px;font-size:13px;line-height:1.45;white-space:pre-line;pointer-events:none;box-shadow:0 6px 22px #0005}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:5px 12px;border-bottom:1px solid var(--rule);vertical-align:top}
thead th{color:var(--muted);font-weight:600;position:sticky;top:0;background:var(--panel)}
tbody th{color:var(--muted);font-weight:400;text-align:right}
tbody tr:last-child>*{border-bottom:0}
tr.failed>*{background:color-mix(in srgb,var(--red) 11%,transparent)}
tr.on>*{background:color-mix(in srgb,var(--link) 13%,transparent)}
td small{color:var(--muted)}td code,td:nth-child(2){white-space:nowrap}td:last-child{min-width:14em}
.bad{color:var(--red)}
.dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:7px}
dl{margin:0}dt{font-weight:700}dd{margin:0 0 10px 18px}
pre{margin:4px 0;color:var(--muted);overflow:auto}
.words{list-style:none;display:flex;flex-wrap:wrap;gap:4px 22px;margin:0;padding:0}
.replay code{overflow-wrap:anywhere;background:var(--bg);padding:4px 8px;border-radius:6px}
button{font:inherit;font-size:13px;padding:3px 12px;border-radius:6px;border:1px solid var(--rule);background:var(--panel);color:var(--text);cursor:pointer}
@media print{
:root{--bg:#fff;--panel:#fff;--text:#000;--muted:#444;--rule:#bbb;--red:#b00020}
main{max-width:none;padding:0}article,.report,nav{border:0;padding:0;border-radius:0}article{break-before:page}article:first-of-type{break-before:auto}
.scroll{overflow:visible;border:0;max-height:none!important}figure svg{max-width:100%;height:auto}
.copy,.skip,.tip-card{display:none}thead th{position:static}tr,dt,dd{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;

/** Kept in plain words of the language of browsers; the texts it shows are set as text, never as markup. */
const SCRIPT = `
for (const article of document.querySelectorAll('article')) {
  const svg = article.querySelector('svg.hx');
  const copy = article.querySelector('.copy');
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.onclick = () => navigator.clipboard.writeText(copy.previousElementSibling.textContent)
      .then(() => { copy.textContent = 'Copied'; }, () => { copy.textContent = 'Not allowed'; });
  }
  if (!svg) continue;
  const box = svg.parentElement;
  const tip = box.querySelector('.tip-card');
  const steps = [...svg.querySelectorAll('g.step')];
  for (const step of steps) step.querySelector('title').remove();
  const mark = (number) => {
    svg.classList.toggle('focus', number !== undefined && !!svg.querySelector('.arrow[data-from="' + number + '"],.arrow[data-to="' + number + '"]'));
    for (const g of svg.querySelectorAll('.arrow')) g.classList.toggle('on', g.dataset.from === number || g.dataset.to === number);
    for (const g of article.querySelectorAll('[data-step]')) g.classList.toggle('on', g.dataset.step === number);
  };
  const show = (step) => {
    mark(step.dataset.step);
    tip.textContent = step.getAttribute('aria-label').split(' \\u2014 ').join('\\n');
    tip.hidden = false;
    const at = step.getBoundingClientRect();
    const frame = box.getBoundingClientRect();
    const left = Math.max(4, Math.min(at.left - frame.left, box.clientWidth - tip.offsetWidth - 4));
    const below = at.bottom - frame.top + 6;
    const fits = below + tip.offsetHeight <= box.clientHeight;
    tip.style.left = left + box.scrollLeft + 'px';
    tip.style.top = (fits ? below : Math.max(4, at.top - frame.top - tip.offsetHeight - 6)) + box.scrollTop + 'px';
  };
  const hide = () => { tip.hidden = true; mark(undefined); };
  for (const [i, step] of steps.entries()) {
    step.addEventListener('pointerenter', () => show(step));
    step.addEventListener('pointerleave', hide);
    step.addEventListener('focus', () => show(step));
    step.addEventListener('blur', hide);
    step.addEventListener('keydown', (event) => {
      const next = event.key === 'ArrowDown' ? steps[i + 1] : event.key === 'ArrowUp' ? steps[i - 1] : undefined;
      if (event.key === 'Escape') hide();
      if (!next) return;
      event.preventDefault();
      next.focus();
      next.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    });
  }
  for (const row of article.querySelectorAll('tr[data-step]')) {
    row.addEventListener('pointerenter', () => mark(row.dataset.step));
    row.addEventListener('pointerleave', () => mark(undefined));
  }
}
`;

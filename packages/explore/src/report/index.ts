/** Renderings of stories and reports: pure functions of their data. */
export { type HtmlOptions, toHtml } from './html.ts';
export { toMermaid } from './mermaid.ts';
export { progressLine, reportText } from './report-text.ts';
export { type SvgOptions, toSvg } from './svg.ts';
export { type StoryTextOptions, storyText, storyTitle } from './text.ts';

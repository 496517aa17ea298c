/**
 * markup: text inside SVG and HTML.
 */

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** The text with everything escaped that means something in an element or an attribute; controls that XML forbids become U+FFFD. */
export function escapeMarkup(text: string): string {
  return text
    .toWellFormed()
    .replace(/[&<>"']/g, (c) => ENTITIES[c]!)
    .replace(/(?![\t\n])\p{Cc}|[\ufffe\uffff]/gu, '\ufffd');
}

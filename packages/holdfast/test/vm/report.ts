/** report: how the inside of a virtual machine talks to the outside: lines of JSON on the console, with a mark. */

/** Marks the lines that are reports, among what the kernel says. */
export const MARK = '@@';

export type Report = Readonly<Record<string, unknown>>;

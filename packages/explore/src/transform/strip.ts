/**
 * strip: TypeScript without its types. Types become blanks, so that every line and column stays.
 *
 * With SWC compiled to WebAssembly, which is what Node itself strips with (through amaro, whose releases ask for Node 22): one
 * behaviour on all versions of Node, no warnings about experiments, nothing to build. ts-blank-space needs the compiler API of
 * TypeScript 6; sucrase moves columns and lags behind the language.
 */
import { transformSync } from '@swc/wasm-typescript';

/** @throws SyntaxError for what types cannot be stripped from: enums, namespaces, parameter properties. */
export function strip(source: string, file: string): string {
  try {
    return transformSync(source, { mode: 'strip-only', filename: file }).code;
  } catch (error) {
    const { message, startLine } = error as { message?: string; startLine?: number };
    throw new SyntaxError(`${file}${startLine === undefined ? '' : `:${startLine}`}: ${message ?? String(error)}`);
  }
}

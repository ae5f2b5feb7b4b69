/** Colours, where they are wanted. */
import { styleText } from 'node:util';

type Format = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Dresses a text, or gives it back as it is where there are no colours. */
export type Paint = (format: Format, text: string) => string;

export function painter(enabled: boolean): Paint {
  return (format, text) => (enabled ? styleText(format, text, { validateStream: false }) : text);
}

/** Colours only on a terminal that can, and not against NO_COLOR (https://no-color.org). */
export function wantsColour(isTTY: boolean, env: Readonly<Partial<Record<string, string>>>): boolean {
  return isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
}

/** What a renderer must know about where its text goes. */
export interface Page {
  /** Columns; `Infinity` where nothing needs to fit. */
  width: number;
  paint: Paint;
  /** Wall time in milliseconds, for ages. */
  now: number;
}

/** How many columns a text takes on a terminal, shortening to a width, and making foreign text harmless. */

/** East Asian wide and fullwidth blocks and pictographs: two columns each. Simple, not complete. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const zeroWidth = /\p{M}|\p{Cf}/u;
const plainAscii = /^[ -~]*$/;

/** Terminal columns of one line of text without control characters. */
export function displayWidth(text: string): number {
  if (plainAscii.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** Cuts a text to at most `width` columns; one that was cut ends with `…`. */
export function shorten(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 0) return '';
  let kept = '';
  let used = 1; // the ellipsis
  for (const character of text) {
    used += characterWidth(character);
    if (used > width) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Fills up with spaces to `width` columns; a longer text stays as it is. */
export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const fill = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'left' ? text + fill : fill + text;
}

/**
 * Text from outside (names, messages, logs of guests) without anything a terminal would obey:
 * control characters become `�`; `keep` names those that stay.
 */
export function printable(text: string, keep = ''): string {
  if (plainAscii.test(text)) return text;
  return text.replace(/\p{Cc}/gu, (character) => (keep.includes(character) ? character : '�'));
}

function characterWidth(character: string): number {
  if (zeroWidth.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}

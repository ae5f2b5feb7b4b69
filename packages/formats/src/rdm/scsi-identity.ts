/**
 * Who a LUN is, whatever its address: the designators of its vital product data (SPC-4, "Device Identification VPD page" 0x83 and
 * "Unit Serial Number VPD page" 0x80), each as `naa.…`, `eui.…`, `t10.…` or `serial.…`.
 *
 *   page    0 qualifier and type   1 page code   2 u16 BE length   4 designators, or the serial number
 *   designator   0 code set (low 4 bits)   1 association (bits 4–5: 0 the LUN), type (low 4 bits)   3 length   4 bytes
 *   types   1 T10 vendor id   2 EUI-64   3 NAA
 */

const naming: Partial<Record<number, string>> = { 1: 't10', 2: 'eui', 3: 'naa' };
const lunAssociation = 0;

/** Of page 0x83; designators that name a port or target, and those of other types, are left out. Damage ends the list. */
export function identitiesOfPage83(page: Uint8Array): string[] {
  const view = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  if (view.length < 4 || view[1] !== 0x83) return [];
  const end = Math.min(view.length, 4 + view.readUInt16BE(2));
  const found: string[] = [];
  for (let at = 4; at + 4 <= end; ) {
    const [head = 0, kind = 0, , length = 0] = view.subarray(at, at + 4);
    const bytes = view.subarray(at + 4, at + 4 + length);
    at += 4 + length;
    if (at > end) break;
    const name = naming[kind & 0x0f];
    if (name === undefined || ((kind >> 4) & 3) !== lunAssociation) continue;
    const isBinary = (head & 0x0f) === 1;
    const text = isBinary ? bytes.toString('hex') : plainText(bytes.toString('latin1'));
    if (/[^0 ]/.test(text)) found.push(`${name}.${text}`);
  }
  return found;
}

/** Of page 0x80. */
export function identitiesOfPage80(page: Uint8Array): string[] {
  const view = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  if (view.length < 4 || view[1] !== 0x80) return [];
  return serialIdentity(view.toString('latin1', 4, 4 + view.readUInt16BE(2)));
}

/** A serial number as the operating system or a tool gives it; nothing for an empty one. */
export function serialIdentity(text: string): string[] {
  const serial = plainText(text);
  return serial === '' ? [] : [`serial.${serial}`];
}

function plainText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '').trim();
}

/** Whether two lists name one LUN: a serial number alone counts only where nothing better is known of both. */
export function isSameLun(a: readonly string[], b: readonly string[]): boolean {
  const strong = (list: readonly string[]) => list.filter((name) => !name.startsWith('serial.'));
  const [first, second] = [strong(a), strong(b)];
  if (first.length > 0 && second.length > 0) return first.some((name) => second.includes(name));
  return a.some((name) => b.includes(name));
}

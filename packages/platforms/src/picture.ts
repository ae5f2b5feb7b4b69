/** Pictures of screens: netpbm's PPM, which older hypervisors send, as PNG (https://www.w3.org/TR/png/). */
import { crc32, deflateSync } from 'node:zlib';
import { FormatError } from '@prima/base';

const sideLimit = 16_384;

/** A binary PPM with 8 bits a colour (`P6`). Raises `format`. */
export function ppmToPng(ppm: Uint8Array): Uint8Array {
  const head = Buffer.from(ppm.buffer, ppm.byteOffset, Math.min(ppm.length, 256)).toString('latin1');
  const match = /^P6\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s+(\d{1,5})\s+255\s/.exec(head);
  const [width, height] = [Number(match?.[1]), Number(match?.[2])];
  const start = match?.[0].length ?? 0;
  const isSound = width > 0 && height > 0 && width <= sideLimit && height <= sideLimit;
  if (!match || !isSound || ppm.length - start < width * height * 3) {
    throw new FormatError('a picture of the screen was expected (PPM or PNG), something else came');
  }
  const line = width * 3;
  const raw = Buffer.alloc((line + 1) * height); // each line begins with its filter: 0, none
  for (let y = 0; y < height; y += 1) {
    raw.set(ppm.subarray(start + y * line, start + (y + 1) * line), y * (line + 1) + 1);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8);
  frame.writeUInt32BE(data.length, 0);
  frame.writeUInt32BE(crc32(body), 4);
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
}

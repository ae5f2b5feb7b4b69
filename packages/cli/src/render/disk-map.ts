/** Where the data of disks lies, as lines of blocks. */
import type { DiskDto } from '@prima/api';
import { formatBytes } from '@prima/base';
import type { Page } from '../terminal/style.ts';
import { printable } from '../terminal/width.ts';

const shades = ['·', '░', '▒', '▓', '█'];

/** Two lines a disk that has a map: figures, and the map in the width of the page. */
export function diskMaps(disks: readonly Pick<DiskDto, 'name' | 'size' | 'map'>[], page: Page): string[] {
  return disks.flatMap(({ name, size, map }) => {
    if (!map) return [];
    const { dataBytes, cells, cellBytes, note } = map;
    if (note !== undefined) return [`${printable(name)}: ${printable(note)}`];
    const line = mapLine(cells, cellBytes, Math.min(64, page.width));
    return [`${printable(name)}: ${formatBytes(dataBytes)} of ${formatBytes(size)} are data`, line];
  });
}

function mapLine(cells: readonly number[], cellBytes: number, width: number): string {
  const each = Math.max(1, Math.ceil(cells.length / width));
  let line = '';
  for (let at = 0; at < cells.length; at += each) {
    const part = cells.slice(at, at + each);
    const share = part.reduce((sum, cell) => sum + cell, 0) / (part.length * cellBytes);
    line += shades[Math.ceil(share * (shades.length - 1))] ?? '';
  }
  return line;
}

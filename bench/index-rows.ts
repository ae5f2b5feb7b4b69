/** The index and the pages of much unique data, held to their figures. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBytes, type Logger, MiB, TiB } from '@prima/base';
import type { Row } from './results.ts';
import { benchScale } from './scale.ts';

export async function indexRows({
  folder,
  tebibytes,
  log,
}: {
  folder: string;
  tebibytes: number;
  log: Logger;
}): Promise<Row[]> {
  const own = join(folder, 'scale');
  await mkdir(own);
  const result = await benchScale(own, tebibytes, log);
  await rm(own, { recursive: true });
  const item = `index of ${tebibytes} TiB of unique data`;
  const mebibytes = result.indexBytes / tebibytes / MiB;
  return [
    {
      item,
      prima: formatBytes(result.indexBytes),
      value: mebibytes,
      unit: 'MiB per TiB',
      wanted: { atMost: 40 },
    },
    {
      item: `${item}: opened`,
      prima: `${result.openSeconds.toFixed(1)} s`,
      value: result.openSeconds,
      unit: 's',
    },
    {
      item: `${item}: lookups`,
      prima: `${(result.lookupsPerSecond / 1e6).toFixed(1)} M/s`,
      value: result.lookupsPerSecond / 1e6,
      unit: 'M/s',
    },
    {
      item: `a disk of ${tebibytes} TiB: extents of 1 GiB`,
      prima: `${result.extentsRequests} requests, ${(result.extentsSeconds * 1000).toFixed(0)} ms`,
      value: result.extentsRequests,
      unit: 'requests',
    },
    {
      item: `${item}: in the store`,
      prima: formatBytes(result.metadataBytes),
      value: (result.metadataBytes / (tebibytes * TiB)) * 1e6,
      unit: 'ppm of the data',
    },
  ];
}

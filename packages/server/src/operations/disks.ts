/** Operations on disk files by themselves. */
import { resolve } from 'node:path';
import type { DiskFileApi } from '@prima/api';
import { compareDisks, inspectDisk, mapDisk } from '@prima/engine';
import type { Context } from '../context.ts';
import { partitionTableDto } from '../dto.ts';

const listed = 1000;

export function diskOperations(context: Context): DiskFileApi {
  return {
    diskInfo: (disk, options) =>
      context.run(options, async ({ signal }) => {
        const { partitions, ...info } = await inspectDisk(disk, signal);
        return { path: resolve(disk.path), ...info, partitionTable: partitionTableDto(partitions) };
      }),
    diskMap: ({ limit = listed, ...disk }, options) =>
      context.run(options, ({ signal }) => mapDisk(disk, limit, signal)),
    diskCompare: ({ a, b, limit = listed }, options) =>
      context.run(options, ({ signal }) => compareDisks(a, b, { limit, signal })),
  };
}

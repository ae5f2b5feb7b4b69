/** Operations on disk files by themselves. */
import { extname, resolve } from 'node:path';
import type { DiskFileApi, ImageFormat } from '@prima/api';
import { UserError } from '@prima/base';
import { compareDisks, convertDisk, imageFormats, inspectDisk, mapDisk } from '@prima/engine';
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
    diskConvert: ({ source, target, force, ...request }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        const format = targetFormat(target, request.format);
        const journal = await context.recover(logger);
        const converting = { format, force, journal, signal, onProgress };
        const converted = await convertDisk(source, resolve(target), converting);
        return { ...converted, format, elapsedMs: performance.now() - started };
      }),
  };
}

function targetFormat(target: string, told: string | undefined): ImageFormat {
  const text = told ?? (extname(target) === '.img' ? 'raw' : extname(target).slice(1));
  const format = imageFormats.find((known) => known === text);
  if (format) return format;
  const what = told === undefined ? `${target} does not end in a format` : `"${told}" is not a format`;
  throw new UserError('usage', `${what} to convert to; say --format ${imageFormats.join(', ')}`);
}

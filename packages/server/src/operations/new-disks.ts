/** Operations that make disk files: empty ones, copies in another format, copies that are alike. */
import { extname, resolve } from 'node:path';
import type { DiskChangeApi, DiskCloneRequest, DiskCopyResult, ImageFormat } from '@prima/api';
import { UserError } from '@prima/base';
import { convertDisk, createDisk, imageFormats, vmdkKind } from '@prima/engine';
import type { Context } from '../context.ts';

type NewDiskApi = Pick<DiskChangeApi, 'diskCreate' | 'diskConvert' | 'diskClone'>;

export function newDiskOperations(context: Context): NewDiskApi {
  const copy = async (
    { source, target, ...request }: DiskCloneRequest,
    options: Parameters<DiskChangeApi['diskClone']>[1],
    clone: boolean,
  ): Promise<DiskCopyResult> =>
    context.run(options, async ({ signal, logger, onProgress }) => {
      const started = performance.now();
      const { force, keepParent } = request;
      const format = formatFor(target, request.format, clone ? source : undefined);
      const journal = await context.recover(logger);
      const kinds = vmdkOptions(request);
      const copying = { format, ...kinds, force, keepParent, clone, journal, signal, onProgress };
      const made = await convertDisk(source, resolve(target), copying);
      return { ...made, format, elapsedMs: performance.now() - started };
    });
  return {
    diskCreate: ({ target, size, parent, force, ...request }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        const format = formatFor(target, request.format);
        const journal = await context.recover(logger);
        const creating = {
          format,
          ...vmdkOptions(request),
          size,
          parent,
          force,
          journal,
          signal,
          onProgress,
        };
        const made = await createDisk(resolve(target), creating);
        return { ...made, format, elapsedMs: performance.now() - started };
      }),
    diskConvert: (request, options) => copy(request, options, false),
    diskClone: (request, options) => copy(request, options, true),
  };
}

function vmdkOptions({ kind, adapter }: { kind?: string; adapter?: string }) {
  return {
    ...(kind !== undefined && { kind: vmdkKind(kind) }),
    ...(adapter !== undefined && { adapterType: adapter }),
  };
}

/** What was told, or what the target's ending says; for a clone the format of its original where that says nothing. */
function formatFor(
  target: string,
  told: string | undefined,
  like?: { path: string; format?: string },
): ImageFormat {
  const ending = endingOf(target);
  const known = (text: string | undefined) => imageFormats.find((format) => format === text);
  const format =
    told === undefined
      ? (known(ending) ?? known(like?.format) ?? known(like && endingOf(like.path)))
      : known(told);
  if (format) return format;
  const what = told === undefined ? `${target} does not end in a format` : `"${told}" is not a format`;
  throw new UserError('usage', `${what} that can be made; say --format ${imageFormats.join(', ')}`);
}

function endingOf(path: string): string {
  const ending = extname(path).slice(1).toLowerCase();
  return ending === 'img' ? 'raw' : ending;
}

/** The copy operation: points of the application's repository go to another one, opened for this call. */
import type { CopyRequest, CopyResult, PrimaApi } from '@prima/api';
import { UserError } from '@prima/base';
import { copyPoints, pointsOfMachine, resolvePoint } from '@prima/engine';
import type { Point } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { errorDto, pointDto } from '../dto.ts';
import { readSecret } from './keys.ts';

export function copyOperations(context: Context): Pick<PrimaApi, 'copy'> {
  return {
    copy: (request, options) => context.run(options, (call) => copy(context, request, call)),
  };
}

async function copy(context: Context, request: CopyRequest, call: Call): Promise<CopyResult> {
  const { to, verify, readBack, lockMs, dryRun = false } = request;
  if (to.url === '') throw new UserError('usage', 'no repository is named to copy to');
  const source = await context.repository();
  const points = chosen(await source.points(), request);
  const access = context.anotherRepository(to.url, () => readSecret(to.secret));
  try {
    const target = await access.open();
    const copies = await copyPoints(source, target, {
      points,
      verify,
      readBack,
      lockMs,
      dryRun,
      lockFolder: context.home.locks,
      ...call,
    });
    const results = copies.map(({ point, copy: made, error, ...rest }) => ({
      ...rest,
      point: pointDto(point),
      copy: made && pointDto(made),
      error: error && errorDto(error, 'copying'),
    }));
    return { dryRun, to: { id: target.id, url: target.url }, results };
  } finally {
    await access.close();
  }
}

/** The points that the request is about. Raises `usage` unless it says in exactly one way which. */
function chosen(points: readonly Point[], { points: named = [], machine, all }: CopyRequest): Point[] {
  const ways = [named.length > 0, machine !== undefined, all === true].filter((given) => given);
  if (ways.length !== 1) {
    throw new UserError(
      'usage',
      'say in one way what to copy: name points, or a machine (--machine), or everything (--all)',
    );
  }
  if (named.length > 0) return [...new Set(named.map((text) => resolvePoint(points, text)))];
  return machine === undefined ? [...points] : pointsOfMachine(points, machine);
}

/** The copy operation: points of the application's repository go to another one, opened for this call. */
import type { CopyRequest, CopyResult, CopyTarget, NewRepositoryDto, PrimaApi } from '@prima/api';
import { UserError } from '@prima/base';
import { copyPoints } from '@prima/engine';
import { type Point, pointsOfMachine, resolvePoint } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { errorDto, pointDto } from '../dto.ts';
import type { RepositoryAccess } from '../repository-access.ts';
import { addRecoveryKey, readSecret } from './keys.ts';

export function copyOperations(context: Context): Pick<PrimaApi, 'copy' | 'copyCreate'> {
  return {
    copyCreate: (request, options) => context.run(options, () => create(context, request)),
    copy: (request, options) => context.run(options, (call) => copy(context, request, call)),
  };
}

async function copy(context: Context, request: CopyRequest, call: Call): Promise<CopyResult> {
  const { to, verify, readBack, lockMs, dryRun = false } = request;
  const source = await context.repository();
  const points = chosen(await source.points(), request);
  const access = targetOf(context, to);
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

async function create(
  context: Context,
  { to, recovery = false }: { to: CopyTarget; recovery?: boolean },
): Promise<NewRepositoryDto> {
  if (to.secret.kind === 'recovery') {
    throw new UserError(
      'usage',
      'a new repository gets a passphrase or a key file; a recovery key is made besides',
    );
  }
  const { chunkSize } = await context.repository(); // nothing is made for a source that does not open
  const access = targetOf(context, to);
  try {
    const repository = await access.create({ chunkSize });
    const status = await repository.status();
    if (!recovery) return status;
    const { words } = await addRecoveryKey(repository, 'recovery');
    return { ...status, words };
  } finally {
    await access.close();
  }
}

function targetOf(context: Context, to: CopyTarget): RepositoryAccess {
  if (to.url === '') throw new UserError('usage', 'no repository is named to copy to');
  return context.anotherRepository(to.url, () => readSecret(to.secret));
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

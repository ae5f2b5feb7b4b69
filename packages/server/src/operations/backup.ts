/** The backup operation: each source in turn; one that fails does not stop the others. */
import type { BackupRequest, BackupResult, PrimaApi } from '@prima/api';
import { formatBytes, throwIfAborted, UserError } from '@prima/base';
import {
  backup,
  type BackupSource,
  diskFileSource,
  type Journal,
  machineSource,
  nbdSource,
  parseSource,
  type SourceName,
} from '@prima/engine/backup';
import type { Point, Repository } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { errorDto, pointDto } from '../dto.ts';

const modes = ['auto', 'hot', 'warm', 'cold'];

export function backupOperations(context: Context): Pick<PrimaApi, 'backup'> {
  return {
    backup: (request, options) => context.run(options, (call) => backupAll(context, request, call)),
  };
}

async function backupAll(context: Context, request: BackupRequest, call: Call): Promise<BackupResult> {
  if (request.sources.length === 0) throw new UserError('usage', 'no source is named; give at least one');
  if (request.mode !== undefined && !modes.includes(request.mode)) {
    throw new UserError('usage', `"${request.mode}" is not a mode; write ${modes.join(', ')}`);
  }
  const { read, store } = request.limits ?? {};
  if (read !== undefined) call.logger.info(`machines are read at ${formatBytes(read)} a second at most`);
  if (store !== undefined) call.logger.info(`${formatBytes(store)} a second are stored at most`);
  const repository = await context.repository();
  const journal = await context.recover(call.logger);
  const results: BackupResult['results'] = [];
  for (const source of request.sources) {
    const started = performance.now();
    const elapsedMs = () => performance.now() - started;
    try {
      const point = await backupOne({ context, repository, journal, request, call }, source);
      call.logger.info(`${source}: the point ${point.id.slice(0, 12)} is committed`);
      results.push({ source, point: pointDto(point), elapsedMs: elapsedMs() });
    } catch (error) {
      throwIfAborted(call.signal, `backing up ${source}`);
      results.push({ source, error: errorDto(error, `backing up ${source}`), elapsedMs: elapsedMs() });
    }
  }
  return { results };
}

interface Work {
  context: Context;
  repository: Repository;
  journal: Journal;
  request: BackupRequest;
  call: Call;
}

async function backupOne(
  { context, repository, journal, request, call }: Work,
  text: string,
): Promise<Point> {
  const { signal, logger, onProgress } = call;
  const name = await parseSource(text, await context.hosts.list());
  for (const note of name.notes) logger.info(note);
  const { sourceFormat: format, allowed } = request;
  const source = await openSource(context, name, { signal, format, allowed });
  const undo = name.kind === 'machine' ? [{ kind: 'host' as const, host: name.host }] : [];
  await using _entry = await journal.begin(`backing up ${text}`, undo);
  const { point } = await backup(repository, source, {
    mode: request.mode,
    full: request.full,
    skipFreeSpace: request.skipFreeSpace,
    name: request.name,
    tags: request.tags,
    readBack: request.readBack,
    lockMs: request.lockMs,
    scratch: request.scratch,
    limits: request.limits,
    notes: name.notes,
    signal,
    logger,
    onProgress,
  });
  return point;
}

async function openSource(
  context: Context,
  name: SourceName,
  { signal, format, allowed }: { signal: AbortSignal; format?: string; allowed?: string[] },
): Promise<BackupSource> {
  const { locks } = context.home;
  if (name.kind === 'disk-file') return diskFileSource(name.path, { lockFolder: locks, format, allowed });
  if (format !== undefined || allowed !== undefined) {
    throw new UserError(
      'usage',
      'a source format and folders are told only for disk files; machines and exports know theirs',
    );
  }
  if (name.kind === 'package') {
    const { packageSource } = await import('@prima/engine');
    return packageSource(name.path, { lockFolder: locks });
  }
  if (name.kind === 'nbd') return nbdSource(name.uri, name.text, { lockFolder: locks });
  if (name.kind === 'machine') {
    const platform = await context.platform(name.host);
    return machineSource(platform, await platform.find(name.machine, signal));
  }
  const { openFolder } = await import('@prima/platforms');
  const { platform, machine } = await openFolder(name.vmx);
  const { id, name: machineName } = machine;
  return { ...machineSource(platform, machine), machine: { id, name: machineName } };
}

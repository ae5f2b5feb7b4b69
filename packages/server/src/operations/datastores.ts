/** Operations on datastores. None of them changes a file of one. */
import type { DatastoreDto, DatastoreReportDto, DatastoresApi, DatastoreShowRequest } from '@prima/api';
import { toPrimaError, UserError } from '@prima/base';
import { datastoreRoom, hostConfigurations, lookAtDatastore, type Unreadable } from '@prima/engine';
import type { Context } from '../context.ts';
import { DatastoreRegistry } from '../datastore-registry.ts';

export function datastoreOperations(context: Context): DatastoresApi {
  const registry = new DatastoreRegistry(context.home.datastores);
  return {
    datastoreList: (options) =>
      context.run(options, async () => Promise.all((await registry.list()).map(withRoom))),
    datastoreAdd: (request, options) => context.run(options, () => registry.add(request)),
    datastoreRemove: ({ name }, options) => context.run(options, () => registry.remove(name)),
    datastoreShow: (request, options) =>
      context.run(options, async ({ signal }) => {
        const folders = await foldersOf(request, registry);
        const { paths, unreadable } = await configurationsOfHosts(context);
        const report = await lookAtDatastore(folders, { configurations: paths, unreadable, signal });
        return reportDto(report);
      }),
  };
}

async function withRoom(datastore: DatastoreDto) {
  const room = await Promise.all(
    datastore.folders.map(async (path) => {
      try {
        const [found] = await datastoreRoom([path]);
        return { path, totalBytes: found?.totalBytes ?? 0, freeBytes: found?.freeBytes ?? 0 };
      } catch (error) {
        const { message } = toPrimaError(error, `looking at ${path}`);
        return { path, totalBytes: 0, freeBytes: 0, error: message };
      }
    }),
  );
  return { ...datastore, room };
}

async function foldersOf(
  { name, folders = [] }: DatastoreShowRequest,
  registry: DatastoreRegistry,
): Promise<readonly string[]> {
  if ((name === undefined) === (folders.length === 0)) {
    throw new UserError('usage', 'name either a datastore or folders');
  }
  return name === undefined ? folders : (await registry.get(name)).folders;
}

async function configurationsOfHosts(
  context: Context,
): Promise<{ paths: string[]; unreadable: Unreadable[] }> {
  const found = await Promise.all(
    (await context.hosts.list()).flatMap(({ platform, location }) =>
      platform === 'qemu' ? [hostConfigurations(location)] : [],
    ),
  );
  return {
    paths: found.flatMap(({ paths }) => paths),
    unreadable: found.flatMap(({ unreadable }) => unreadable),
  };
}

type Report = Awaited<ReturnType<typeof lookAtDatastore>>;

function reportDto({ machines, orphans, ...report }: Report): DatastoreReportDto {
  const file = <T extends { modifiedMs: number }>({ modifiedMs, ...rest }: T) => ({
    ...rest,
    modified: new Date(modifiedMs).toISOString(),
  });
  return {
    ...report,
    machines: machines.map((machine) => ({
      ...machine,
      disks: machine.disks.map((disk) => ({ ...disk, files: disk.files.map(file) })),
    })),
    orphans: orphans.map(file),
  };
}

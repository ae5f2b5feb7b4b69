/**
 * All operations, put together: what is behind the API's contract. The modules of an operation are loaded by its first
 * call: a command needs few of them, and loading all would take it longer than most of what commands do.
 */
import type { PrimaApi } from '@prima/api';
import type { ApplicationOptions } from './application.ts';
import { Context, type ContextOptions } from './context.ts';

/** @param openAnother makes the application that the demonstration works with */
export function operations(
  options: ContextOptions,
  openAnother: (options: ApplicationOptions) => Promise<PrimaApi>,
): PrimaApi {
  const context = new Context(options);
  const repository = async () => (await import('./operations/repository.ts')).repositoryOperations(context);
  const keys = async () => (await import('./operations/keys.ts')).keyOperations(context);
  const backup = async () => (await import('./operations/backup.ts')).backupOperations(context);
  const points = async () => (await import('./operations/points.ts')).pointOperations(context);
  const forget = async () => (await import('./operations/forget.ts')).forgetOperations(context);
  const restore = async () => (await import('./operations/restore.ts')).restoreOperations(context);
  const recover = async () => (await import('./operations/recover.ts')).recoverOperations(context);
  const copy = async () => (await import('./operations/copy.ts')).copyOperations(context);
  const storage = async () => (await import('./operations/storage.ts')).storageOperations(context);
  const disks = async () => (await import('./operations/disks.ts')).diskOperations(context);
  const newDisks = async () => (await import('./operations/new-disks.ts')).newDiskOperations(context);
  const diskChanges = async () =>
    (await import('./operations/disk-changes.ts')).diskChangeOperations(context);
  const rdm = async () => (await import('./operations/rdm.ts')).rdmOperations(context);
  const redo = async () => (await import('./operations/redo.ts')).redoOperations(context);
  const hosts = async () => (await import('./operations/hosts.ts')).hostOperations(context);
  const hostConfigurations = async () =>
    (await import('./operations/host-configurations.ts')).hostConfigurationOperations(context);
  const machines = async () => (await import('./operations/machines.ts')).machineOperations(context);
  const configurations = async () =>
    (await import('./operations/machine-configurations.ts')).configurationOperations(context);
  const rollback = async () => (await import('./operations/rollback.ts')).rollbackOperations(context);
  const resources = async () => (await import('./operations/resources.ts')).resourceOperations(context);
  const datastores = async () => (await import('./operations/datastores.ts')).datastoreOperations(context);
  const self = async () => (await import('./operations/self.ts')).selfOperations(context);
  const demo = async () =>
    (await import('./demo/operation.ts')).demoOperations(context, (home, url, text) =>
      openAnother({ home, repository: url, secret: async () => ({ kind: 'passphrase', text }) }),
    );
  return {
    ...later(repository, ['init', 'status', 'check', 'repair', 'collect']),
    ...later(keys, ['keyList', 'keyAdd', 'keyRemove', 'keyRotate', 'keyRotateRoot']),
    ...later(backup, ['backup']),
    ...later(points, ['points', 'show', 'diff', 'lock']),
    ...later(forget, ['forget']),
    ...later(restore, ['restoreToFolder', 'restoreToPackage', 'restoreToHost', 'restoreToDevice', 'export']),
    ...later(recover, ['recover', 'recoverResume', 'recoverCancel']),
    ...later(copy, ['copy', 'copyCreate']),
    ...later(storage, ['storageTest', 'storageUndelete']),
    ...later(disks, ['diskInfo', 'diskMap', 'diskCompare']),
    ...later(newDisks, ['diskCreate', 'diskConvert', 'diskClone']),
    ...later(diskChanges, ['diskCheck', 'diskRepair', 'diskExtend', 'diskInflate', 'diskPunch']),
    ...later(diskChanges, ['diskRename', 'diskDelete']),
    ...later(rdm, ['rdmCreate', 'rdmQuery', 'rdmRemap']),
    ...later(redo, ['redoList', 'redoAdd', 'redoCommit', 'redoDiscard']),
    ...later(hosts, ['hostList', 'hostAdd', 'hostTest', 'hostRemove']),
    ...later(hostConfigurations, ['hostBackup', 'hostDiff', 'hostRestore']),
    ...later(machines, ['machineList', 'machineShow', 'machineCreate', 'machinePower', 'machineDelete']),
    ...later(machines, ['machineImport', 'machineExport', 'machineScreenshot', 'machineConsole']),
    ...later(machines, ['machineDoctor']),
    ...later(configurations, ['machineConfiguration']),
    ...later(rollback, ['rollbackBegin', 'rollbackList', 'rollbackKeep', 'rollbackUndo']),
    ...later(resources, ['machineResources', 'machineResourcesSet']),
    ...later(datastores, ['datastoreList', 'datastoreAdd', 'datastoreRemove', 'datastoreShow']),
    ...later(self, ['selfBackup', 'selfRestore']),
    ...later(demo, ['demo']),
    close: () => context.close(),
  };
}

type Operation = Exclude<keyof PrimaApi, 'close'>;

/** Operations of these names that call those which `load` gives. */
function later<Name extends Operation>(
  load: () => Promise<Pick<PrimaApi, Name>>,
  names: readonly Name[],
): Pick<PrimaApi, Name> {
  const entries = names.map((name) => {
    const call = async (...parameters: unknown[]): Promise<unknown> => {
      const loaded: Pick<PrimaApi, Name> = await load();
      return await (loaded[name] as (...all: unknown[]) => Promise<unknown>)(...parameters);
    };
    return [name, call];
  });
  return Object.fromEntries(entries) as Pick<PrimaApi, Name>;
}

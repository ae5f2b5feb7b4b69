/** Backup, restore, export, retention and the journal: what Prima does, with state and secrets passed in. */
export * from './backup/mod.ts';
export { type CopyOptions, copyPoints, type PointCopy } from './copy/copy-points.ts';
export { type DatastoreReport, lookAtDatastore } from './datastore/datastore.ts';
export { hostConfigurations, type Unreadable } from './datastore/host-configurations.ts';
export { datastoreRoom, mostFolders } from './datastore/scan.ts';
export { type DiskDiff, diffPoints, type PointDiff } from './diff.ts';
export type { ChangeOptions } from './disk/change-disk.ts';
export { type CheckedDisk, checkDisk, repairDisk } from './disk/check-disk.ts';
export { type ConvertDiskOptions, convertDisk, type ConvertedDisk } from './disk/convert-disk.ts';
export { deleteDisk, type DeletedDisk, planDelete } from './disk/delete-disk.ts';
export { extendDisk } from './disk/extend-disk.ts';
export { inflateDisk, punchDisk } from './disk/fill-disk.ts';
export {
  compareDisks,
  type DiskComparison,
  type DiskFileInfo,
  type DiskMap,
  inspectDisk,
  mapDisk,
  type NamedDisk,
} from './disk/inspect-disk.ts';
export { createDisk } from './disk/make-disk.ts';
export { renameDisk } from './disk/rename-disk.ts';
export { vmdkKind } from './disk/vmdk-kinds.ts';
export { createMapping, queryMapping, remapDevice } from './disk/raw-mapping.ts';
export { type ImageFormat, imageFormats } from './disk/write-disk.ts';
export { type ExportOptions, exportPoint, type PointExport } from './export/export-point.ts';
export type { JournalEntry, JournalOptions, RecoveryReport, Undo } from './journal.ts';
export {
  configurationOfFile,
  configurationOfMachine,
  configurationOfPoint,
  type FoundConfiguration,
  showConfiguration,
  type ShownConfiguration,
} from './machine/configuration.ts';
export { type ImportedMachine, importPackage, type ImportOptions } from './package/import-package.ts';
export { packageSource } from './package/package-source.ts';
export {
  exportKinds,
  type ExportKind,
  exportMachine,
  type ExportedMachine,
} from './package/export-machine.ts';
export { type PartitionTable, pointPartitions } from './partitions.ts';
export { pointMaps } from './point-map.ts';
export {
  type AttendRecoveryOptions,
  cancelRecovery,
  type RecoveredMachine,
  recoverMachine,
  type RecoverOptions,
  resumeRecovery,
} from './recover/recover-machine.ts';
export {
  lookAtDiskLogs,
  mustNotBeSuspended,
  type RedoLog,
  type RedoStack,
  withDiskLogs,
} from './redo/disk-logs.ts';
export type { LunChoice } from './restore/luns.ts';
export { restoreToDevice, type RestoreToDeviceOptions } from './restore/to-device.ts';
export {
  type FolderRestore,
  type RestoredFile,
  restoreToFolder,
  type RestoreToFolderOptions,
} from './restore/to-folder.ts';
export { type HostRestore, restoreToHost, type RestoreToHostOptions } from './restore/to-host.ts';
export {
  packageFormats,
  type PackageFormat,
  type PackageRestore,
  restoreToPackage,
  type RestoreToPackageOptions,
} from './restore/to-package.ts';
export {
  decideRetention,
  isLocked,
  type KeepRules,
  type RetentionDecision,
  type RetentionOptions,
} from './retention.ts';
export { compareItems, type HostItemChange } from './host-configuration/compare.ts';
export {
  type RestoreConfigurationOptions,
  restoreConfiguration,
  type RestoredItem,
} from './host-configuration/restore.ts';
export { currentConfiguration, hostSource } from './host-configuration/source.ts';
export { isHostPoint, type StoredConfiguration, storedConfiguration } from './host-configuration/stored.ts';

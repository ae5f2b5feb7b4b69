/**
 * What backups of disk files and machines need, and no more: a door of its own, so that such a backup begins without
 * loading the formats, tools and platforms that it does not touch.
 */
export { Journal } from '../journal.ts';
export { acquireLock, type HeldLock } from '../lock.ts';
export { backup, type BackupOptions, type BackupOutcome } from './backup.ts';
export { type BareDiskOptions, diskFileSource, nbdSource } from './bare-disk.ts';
export { type KnownHost, parseSource, type SourceName } from './parse-source.ts';
export { type BackupSource, machineSource, type SourceReading } from './source.ts';

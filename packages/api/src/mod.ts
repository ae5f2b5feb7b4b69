/**
 * The contract between Prima's operations and whoever calls them: types alone, so that importing it loads nothing. The
 * schemas behind them are behind a door of their own, `@prima/api/schemas`.
 */
export type * from './backup.ts';
export type * from './call.ts';
export type * from './contract.ts';
export type * from './copy.ts';
export type * from './datastores.ts';
export type * from './demo.ts';
export type * from './disk-change.ts';
export type * from './disk-file.ts';
export type * from './disk-rdm.ts';
export type * from './host-configuration.ts';
export type * from './keys.ts';
export type * from './machine-configuration.ts';
export type * from './machines.ts';
export type * from './maintenance.ts';
export type * from './operation.ts';
export type * from './partition-table.ts';
export type * from './points.ts';
export type * from './recover.ts';
export type * from './redo.ts';
export type * from './repository.ts';
export type * from './resources.ts';
export type * from './restore.ts';
export type * from './rollback.ts';
export type * from './self.ts';

/** The contract between Prima's operations and whoever calls them. */
export * from './contract.ts';
export type * from './disk-file.ts';
export type * from './keys.ts';
export type * from './partition-table.ts';

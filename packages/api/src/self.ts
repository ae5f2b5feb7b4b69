/** What the contract says of Prima's own state: backed up and brought back as a whole. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, count, isoTime, place, text } from './values.ts';

const passphrase = z.string().min(1).max(1024).meta({ secret: true });

export const SelfBackupRequest = z.strictObject({
  /** The backup; nothing may be there. */
  file: place,
  /** A file, or `postgres://…`. Default: that of a server on this home folder. */
  database: place.optional(),
  /** Without it whoever has the file can read it. */
  passphrase: passphrase.optional(),
});
export type SelfBackupRequest = z.infer<typeof SelfBackupRequest>;

export const SelfBackupResult = z.object({
  file: place,
  bytes,
  rows: count,
  files: count,
  encrypted: z.boolean(),
});
export type SelfBackupResult = z.infer<typeof SelfBackupResult>;

export const SelfRestoreRequest = z.strictObject({
  file: place,
  /** As for the backup; it is empty. */
  database: place.optional(),
  passphrase: passphrase.optional(),
});
export type SelfRestoreRequest = z.infer<typeof SelfRestoreRequest>;

export const SelfRestoreResult = z.object({
  /** When the backup was made. */
  created: isoTime,
  /** The version that made it. */
  prima: text,
  rows: count,
  files: count,
  /** Names of organisations whose audit log is not whole in the backup. */
  brokenAudits: z.array(text),
});
export type SelfRestoreResult = z.infer<typeof SelfRestoreResult>;

export interface SelfApi {
  /** Raises `exists`, `not-found` where no server was ever started, `newer-version`. */
  selfBackup(request: SelfBackupRequest, options?: CallOptions): Promise<SelfBackupResult>;
  /** Into an empty home folder and an empty database. Raises `refused`, `wrong-key`, `integrity`, `format`, `newer-version`. */
  selfRestore(request: SelfRestoreRequest, options?: CallOptions): Promise<SelfRestoreResult>;
}

/** What the contract says of backups. */
import { z } from 'zod';
import { type CallOptions, ErrorDto } from './call.ts';
import { PointDto } from './points.ts';
import { bytes, elapsed, milliseconds, name, place, places, rateLimits, tags, word } from './values.ts';

export const BackupRequest = z.strictObject({
  sources: z.array(place).min(1).max(1000).meta({
    description: "HOST/MACHINE, a disk file, a package, a machine's folder or .vmx, or an nbd:// address",
  }),
  mode: z.enum(['auto', 'hot', 'warm', 'cold']).optional(),
  full: z.boolean().optional(),
  /** Leave out what the guest's file systems provably do not use. */
  skipFreeSpace: z.boolean().optional(),
  name: name.optional(),
  tags: tags.optional(),
  /** Nobody can forget the points for so long. */
  lockMs: milliseconds.optional(),
  readBack: z.boolean().optional(),
  /** Where the blocks that a running guest overwrites are kept meanwhile (a path on its host), and bytes for each disk at most. */
  scratch: z.strictObject({ folder: place.optional(), limitBytes: bytes.optional() }).optional(),
  /** Bytes a second at most: read of the source, and stored in the repository. Another rate needs another run. */
  limits: rateLimits.optional(),
  /** The format of disk files whose name and content do not tell it: `raw`, `qcow2`, `vmdk` … */
  sourceFormat: word.optional(),
  /** Folders in which the files of a VMDK may be, besides its own. */
  allowed: places.optional(),
});
export type BackupRequest = z.infer<typeof BackupRequest>;

export const BackupResult = z.object({
  /** One entry per source, in order; a failed one does not stop the others. */
  results: z.array(
    z.object({
      source: z.string(),
      point: PointDto.optional(),
      error: ErrorDto.optional(),
      elapsedMs: elapsed,
    }),
  ),
});
export type BackupResult = z.infer<typeof BackupResult>;

export interface BackupApi {
  backup(request: BackupRequest, options?: CallOptions): Promise<BackupResult>;
}

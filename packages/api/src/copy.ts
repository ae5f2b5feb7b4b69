/** What the contract says of copies in other repositories. */
import { z } from 'zod';
import { type CallOptions, ErrorDto } from './call.ts';
import { SecretSource } from './keys.ts';
import { PointDto } from './points.ts';
import type { NewRepositoryDto } from './repository.ts';
import { bytes, elapsed, milliseconds, name, place, pointNames } from './values.ts';

/** The repository to copy to: a folder's path or a URL, and what opens it. */
export const CopyTarget = z.strictObject({ url: place, secret: SecretSource });
export type CopyTarget = z.infer<typeof CopyTarget>;

export const CopyRequest = z.strictObject({
  /** Exactly one of: these points, all of a machine (its name or id), everything. */
  points: pointNames.optional().meta({ description: 'exactly one of points, machine and all' }),
  machine: name.optional(),
  all: z.boolean().optional(),
  to: CopyTarget,
  /** Read both afterwards and compare them, those that had been copied before too. */
  verify: z.boolean().optional(),
  dryRun: z.boolean().optional(),
  /** Nobody can forget the copies for so long. */
  lockMs: milliseconds.optional(),
  readBack: z.boolean().optional(),
});
export type CopyRequest = z.infer<typeof CopyRequest>;

export const CopyResult = z.object({
  dryRun: z.boolean(),
  to: z.object({ id: z.string(), url: z.string() }),
  /** One entry a point, the oldest first; a failed one does not stop the others. */
  results: z.array(
    z.object({
      point: PointDto,
      /** `present`: it had been copied before; `planned`: it would be copied. */
      state: z.enum(['copied', 'present', 'planned', 'failed']),
      /** As it is in the other repository. */
      copy: PointDto.optional(),
      /** Bytes read of the point; of a planned copy those that would be, at most. */
      bytes,
      verified: z.boolean(),
      error: ErrorDto.optional(),
      elapsedMs: elapsed,
    }),
  ),
});
export type CopyResult = z.infer<typeof CopyResult>;

export const CopyCreateRequest = z.strictObject({ to: CopyTarget, recovery: z.boolean().optional() });
export type CopyCreateRequest = z.infer<typeof CopyCreateRequest>;

export interface CopyApi {
  /**
   * Makes the repository that points are to be copied to, with the chunk size of this one, and with `recovery` a recovery
   * key besides. Raises `exists` unless the place is empty.
   */
  copyCreate(request: CopyCreateRequest, options?: CallOptions): Promise<NewRepositoryDto>;
  /** Copies points to another repository. */
  copy(request: CopyRequest, options?: CallOptions): Promise<CopyResult>;
}

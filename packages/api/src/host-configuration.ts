/** What the contract says of hosts' own configurations: backed up as points, compared, put back. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { PointDto } from './points.ts';
import { milliseconds, name, names, pointName, tags } from './values.ts';

export const HostBackupRequest = z.strictObject({
  host: name,
  name: name.optional(),
  tags: tags.optional(),
  /** Nobody can forget the point for so long. */
  lockMs: milliseconds.optional(),
});
export type HostBackupRequest = z.infer<typeof HostBackupRequest>;

export const HostDiffRequest = z.strictObject({
  point: pointName,
  /** Another point, or a host as it is now. Default: the point's own host, now. */
  with: pointName.optional().meta({
    description: "another point, or a host as it is now; default: the point's own host, now",
  }),
});
export type HostDiffRequest = z.infer<typeof HostDiffRequest>;

export const HostItemChangeDto = z.object({
  /** `networks/default`, `etc/libvirt/qemu.conf` */
  item: z.string(),
  change: z.enum(['added', 'removed', 'changed']),
  /** Of what changed: lines of both sides; values of secrets are never among them. */
  lines: z.array(z.object({ kind: z.enum(['same', 'removed', 'added', 'gap']), text: z.string() })),
});
export type HostItemChangeDto = z.infer<typeof HostItemChangeDto>;

export const HostDiffResult = z.object({
  /** "1f2e3d4c lab 2026-03-04T12:30:05Z", or "lab, now" */
  a: z.string(),
  b: z.string(),
  items: z.array(HostItemChangeDto),
});
export type HostDiffResult = z.infer<typeof HostDiffResult>;

export const HostRestoreRequest = z.strictObject({
  point: pointName,
  host: name,
  /** Items, or all below: `networks/default`, `networks`, `etc/libvirt/hooks`. Default: all but files. */
  only: names.optional(),
  /** Replace what is there and different. */
  replace: z.boolean().optional(),
  dryRun: z.boolean().optional(),
});
export type HostRestoreRequest = z.infer<typeof HostRestoreRequest>;

export const HostRestoreResult = z.object({
  point: PointDto,
  host: z.string(),
  dryRun: z.boolean(),
  items: z.array(
    z.object({
      item: z.string(),
      /** `kept`: it is there and different; `left-out`: it is not put back. */
      action: z.enum(['defined', 'replaced', 'same', 'kept', 'left-out', 'failed']),
      notes: z.array(z.string()),
    }),
  ),
});
export type HostRestoreResult = z.infer<typeof HostRestoreResult>;

export interface HostConfigurationApi {
  /** Makes a restore point of what is defined on a host but its machines. */
  hostBackup(request: HostBackupRequest, options?: CallOptions): Promise<PointDto>;
  hostDiff(request: HostDiffRequest, options?: CallOptions): Promise<HostDiffResult>;
  /** Items that the host refuses are in the answer, as `failed`. */
  hostRestore(request: HostRestoreRequest, options?: CallOptions): Promise<HostRestoreResult>;
}

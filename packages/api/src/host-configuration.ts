/** What the contract says of hosts' own configurations: backed up as points, compared, put back. */
import type { CallOptions } from './call.ts';
import type { PointDto } from './points.ts';

export interface HostBackupRequest {
  host: string;
  name?: string;
  tags?: string[];
  /** Nobody can forget the point for so long. */
  lockMs?: number;
}

export interface HostDiffRequest {
  point: string;
  /** Another point, or a host as it is now. Default: the point's own host, now. */
  with?: string;
}

export interface HostItemChangeDto {
  /** `networks/default`, `etc/libvirt/qemu.conf` */
  item: string;
  change: 'added' | 'removed' | 'changed';
  /** Of what changed: lines of both sides; values of secrets are never among them. */
  lines: { kind: 'same' | 'removed' | 'added' | 'gap'; text: string }[];
}

export interface HostDiffResult {
  /** "1f2e3d4c lab 2026-03-04T12:30:05Z", or "lab, now" */
  a: string;
  b: string;
  items: HostItemChangeDto[];
}

export interface HostRestoreRequest {
  point: string;
  host: string;
  /** Items, or all below: `networks/default`, `networks`, `etc/libvirt/hooks`. Default: all but files. */
  only?: string[];
  /** Replace what is there and different. */
  replace?: boolean;
  dryRun?: boolean;
}

export interface HostRestoreResult {
  point: PointDto;
  host: string;
  dryRun: boolean;
  items: {
    item: string;
    /** `kept`: it is there and different; `left-out`: it is not put back. */
    action: 'defined' | 'replaced' | 'same' | 'kept' | 'left-out' | 'failed';
    notes: string[];
  }[];
}

export interface HostConfigurationApi {
  /** Makes a restore point of what is defined on a host but its machines. */
  hostBackup(request: HostBackupRequest, options?: CallOptions): Promise<PointDto>;
  hostDiff(request: HostDiffRequest, options?: CallOptions): Promise<HostDiffResult>;
  /** Items that the host refuses are in the answer, as `failed`. */
  hostRestore(request: HostRestoreRequest, options?: CallOptions): Promise<HostRestoreResult>;
}

/** What a backup reads: a machine on a host, or a bare disk; each opens as a reading at one point in time. */
import type { Machine, MachineReading, OpenForBackupOptions, Platform } from '@prima/platforms';
import type { Point } from '@prima/repository';

/** A reading of a machine, or of a bare disk (which has no checkpoint). */
export interface SourceReading extends Omit<MachineReading, 'checkpoint'> {
  checkpoint?: MachineReading['checkpoint'];
  /**
   * Called when everything has been read, before the point is committed: what a person must know about it.
   * Raises `source-changed` when what was read cannot be trusted.
   */
  verify?: () => Promise<string[]>;
}

export interface BackupSource {
  /** Who it is: the same each time. */
  readonly machine: Point['machine'];
  /** Raises `busy` when a backup of the same source is under way, `unsupported` for a mode it cannot have. */
  open(options: OpenForBackupOptions): Promise<SourceReading>;
}

/** A machine on a host. */
export function machineSource(platform: Platform, machine: Machine): BackupSource {
  return {
    machine: { id: machine.id, name: machine.name, host: machine.host },
    open: (options) => platform.openForBackup(machine, options),
  };
}

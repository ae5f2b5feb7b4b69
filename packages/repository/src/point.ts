/** A restore point: what one backup of one machine left. */

/** Figures of one disk of a restore point. Bytes, but for `chunks*`. */
export interface DiskFigures {
  /** Bytes read from the source. */
  read: number;
  /** Bytes of non-zero chunks in the parts that were read. */
  data: number;
  /** Plain bytes of chunks that the repository did not have. */
  added: number;
  /** Bytes that this disk added to the repository, compressed and encrypted, with its pages. */
  stored: number;
  /** Chunks that were re-read as a sample although the source called them unchanged. */
  sampled: number;
}

/** A reference to the root page of a disk; `id` is 64 hex digits. */
export interface RootRef {
  id: string;
  /** True when the whole disk is zeros; `id` is then all zeros. */
  zero: boolean;
}

export interface PointDisk {
  name: string;
  /** The controller slot on the machine: `scsi0:0`. */
  slot?: string;
  path?: string;
  /** The format of the source, to which a restore returns by default: `raw`, `qcow2`. */
  format?: string;
  size: number;
  root: RootRef;
  /** `all`: everything was read; `tracked`: only what change tracking named, on top of `parent`. */
  changed: 'all' | 'tracked';
  /** Why everything was read though an earlier point exists. */
  whyFull?: string;
  figures: DiskFigures;
  /**
   * Where it was asked for: how many bytes of the guest's free space were left out and read as zeros, by which rules (see
   * docs/format/guest-space.md), and for what else there is why they were not.
   */
  freeSpace?: { rules: number; bytes: number; kept: string[] };
  /**
   * Of a disk that was a device (a raw device mapping, or a block device by itself): its address at the time of the
   * backup, `/dev/…` or `iscsi://…`, and who it was, whatever its address (docs/format/raw-device-mapping.md).
   */
  lun?: { device: string; identities: readonly string[] };
}

export interface PointFile {
  name: string;
  length: number;
  ids: string[];
}

/** A restore point. Immutable; it is the outcome of the session that wrote it. */
export interface Point {
  id: string;
  machine: { id: string; name: string; host?: string };
  /** The point in time, ISO 8601. */
  time: string;
  started: string;
  finished: string;
  mode: 'hot' | 'warm' | 'cold';
  quiesced: boolean;
  disks: PointDisk[];
  skipped: { name: string; why: string }[];
  memory?: PointDisk;
  files: PointFile[];
  name?: string;
  tags: string[];
  /** What happened and why: fallbacks, choices. For people. */
  notes: string[];
  /** What a person must know before relying on this point. */
  warnings: string[];
  /** The point this one was based on. */
  parent?: string;
  /** How the point came to be: `platform` and its opaque state for change tracking. */
  checkpoint?: unknown;
  /** Of a copy: the repository and the point that it was first copied from. */
  origin?: { repository: string; point: string };
  /** Until when the point cannot be forgotten, ISO 8601; it may be in the past. */
  lockedUntil?: string;
  /** Until when the store itself keeps all that the point needs, ISO 8601. */
  retainedUntil?: string;
  /** For how long the guest was frozen and the machine paused, milliseconds. */
  frozenMs?: number;
  pausedMs?: number;
}

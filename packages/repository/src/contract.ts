/** What a repository offers to the engine: the shapes; `repository.ts` has the entry points. */
import type { PrimaError, ProgressListener, Range } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { ObjectStore } from '@prima/storage';
import type { DiskFigures, Point, PointDisk, PointFile, RootRef } from './point.ts';

/** One disk to be written. */
export interface WriteDiskRequest {
  name: string;
  device: BlockDevice;
  /** What changed since `parent` was made, at least; undefined: read everything. */
  changed?: readonly Range[];
  /**
   * The same disk in an earlier point; needed with `changed`, must have the same size. Of one that is forgotten by now
   * everything is read: see `parentGone`.
   */
  parent?: { point: string; root: RootRef };
  /** How many chunks of what is called unchanged are re-read and compared. Default 16. */
  sampleChunks?: number;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface WriteDiskResult {
  root: RootRef;
  figures: DiskFigures;
  /**
   * Set when a sampled "unchanged" chunk differed: change tracking lied. The disk was then read in
   * full and is right; the offset is that of the first difference.
   */
  trackingFault?: { offset: number };
  /** Set when the parent was forgotten meanwhile: collections may take away what it needs, so everything was read. */
  parentGone?: true;
  /** Set when blobs were stored again that the repository had lost: all points that use them are whole again. */
  mended?: MendedFigures;
  /**
   * Ranges of the parent that cannot be read and of which the source holds something else by now: the new point is
   * right, but earlier ones stay damaged there.
   */
  unmended?: Range[];
  /** Ranges of the parent whose pages could not be read; all of them was read from the source. */
  hidden?: Range[];
}

export interface MendedFigures {
  chunks: number;
  pages: number;
  /** Plain bytes of the chunks. */
  bytes: number;
}

/** One backup being written. Ends with `commit` or `abort`; `abort` after `commit` does nothing. */
export interface WriteSession {
  readonly id: string;
  /** Disks may be written one after the other, not at once. */
  writeDisk(request: WriteDiskRequest): Promise<WriteDiskResult>;
  writeFile(name: string, bytes: Uint8Array): Promise<PointFile>;
  /**
   * Makes the point visible, durably. It is locked until its `lockedUntil`, and at least for as long as the repository
   * says. Raises `refused` when a collection gave up on this session.
   */
  commit(point: Omit<Point, 'id'>): Promise<Point>;
  abort(why: string): Promise<void>;
}

/** A restore point's disk, ready to be read; closing it ends the pin on the point. */
export interface PointDevice extends BlockDevice {
  readonly point: Point;
}

export interface OpenDiskOptions {
  /**
   * Told of ranges that cannot be read, perhaps several times and overlapping; they read as zeros then. Without it,
   * reading them raises `integrity`.
   */
  onDamage?: (range: Range, error: PrimaError) => void;
}

export interface DiskDifference extends Range {
  disk: string;
}

export interface CheckFault {
  /**
   * What is wrong: `missing-pack`, `damaged-pack`, `unreadable-pack`, `damaged-segment`, `missing-chunk`,
   * `damaged-outcome`, `unlogged-point`, `missing-point`, `changed-point`, `log-gap`, `damaged-list`.
   */
  kind: string;
  object: string;
  message: string;
  /** Points, disks and byte ranges that cannot be restored because of it. */
  affected: { point: string; machine: string; disk: string; offset: number; length: number }[];
}

export interface CheckReport {
  points: number;
  packs: number;
  blobs: number;
  bytesRead: number;
  faults: CheckFault[];
  /** Harmless: packs of dead sessions and the like; a collection removes them. */
  leftovers: string[];
  /** What the check did besides looking: what it recorded, or why it could not. */
  notes: string[];
  verification: VerificationFigures;
}

/** When the packs of the index were last read, by this check and those before it. */
export interface VerificationFigures {
  /** Packs that were never read, or not since they were found damaged. */
  never: number;
  /** The longest ago that any other pack was read, ISO 8601. */
  oldest?: string;
  /** How many packs were read in so many days. */
  within: { days: number; packs: number }[];
}

/** When the packs that a point needs were last read, by any check. */
export interface PointVerification {
  packs: number;
  /** Of them, those that were never read, or not since they were found damaged. */
  never: number;
  /** Blobs that the point needs and that no pack of the index has. */
  missing: number;
  /** The longest ago that any other was read, ISO 8601. */
  oldest?: string;
}

export interface CheckOptions {
  /** Read and verify every stored byte, not only that all is there and fits together. */
  readData: boolean;
  /** Read about so many bytes of packs, those first that were not read for longest. */
  budgetBytes?: number;
  /** Ids of points: only what these reach. Default: all. */
  points?: readonly string[];
  /** Write down damage and what was verified, for backups to mend and later checks to go on from. Default true. */
  record?: boolean;
  /** First write index segments that are missing, from the directories of packs. */
  rebuildIndex?: boolean;
  /** Takes the log and the keys as they are for the newest state, after a rollback that is right. */
  acceptHead?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface RepairOptions {
  /** Do it; otherwise only the plan is answered. Default false. */
  apply?: boolean;
  /** For how long collections free nothing after a point is given up, milliseconds. Default 14 days; 0 ends earlier such times, too. */
  keepMs?: number;
  /** Other copies of the storage of this repository: a snapshot, a replica. They are read only. */
  copies?: readonly ObjectStore[];
  signal?: AbortSignal;
}

export interface RepairStep {
  /** The key of what is damaged or missing. */
  object: string;
  /** What is wrong with it. */
  fault: string;
  /**
   * `restored`: it is again what it was; `acknowledged`: it is lost and costs nothing; `given-up`: a point is lost, or a session
   * that may have been one; `released`: its data is kept no longer.
   */
  remedy: 'restored' | 'acknowledged' | 'given-up' | 'released';
  /** The point that it is about, as far as it is known. */
  point?: { id: string; machine?: string; time?: string };
}

export interface RepairReport {
  applied: boolean;
  steps: RepairStep[];
  /** How many points the log counts that nothing names any more. */
  unknownPoints: number;
  /** Until when nothing is freed because of what is given up, ISO 8601. */
  keptUntil?: string;
}

export interface CollectReport {
  dryRun: boolean;
  packs: number;
  packsDeleted: number;
  packsRewritten: number;
  /** Bytes of the packs deleted, less those of the packs that what lives in them is copied to. */
  bytesFreed: number;
  bytesLive: number;
  /** Packs worth rewriting that the budget left for another time: how many, their live and their dead bytes. */
  postponed: { packs: number; live: number; dead: number };
  sessionsRemoved: number;
  /** Sessions that were given up on, and why. */
  fenced: { session: string; why: string }[];
  notes: string[];
}

export interface RepositoryStatus {
  id: string;
  url: string;
  chunkSize: number;
  points: number;
  packs: number;
  /** Bytes of all packs. */
  storedBytes: number;
  /** Distinct chunks, pages and files. */
  blobs: number;
}

export interface KeySlotInfo {
  id: string;
  kind: Secret['kind'];
  /** `read`: opens the repository for reading only. */
  access: 'full' | 'read';
  label: string;
  created: string;
}

/** What opens a repository. `words` are those of a recovery key: see `newRecoveryWords`. */
export type Secret =
  | { kind: 'passphrase'; text: string }
  | { kind: 'keyfile'; bytes: Uint8Array }
  | { kind: 'recovery'; words: string };

/** The newest state of a repository that an installation has seen. */
export interface SeenHead {
  /** Number of the newest key set. */
  keySet: number;
  /** Number of the newest entry of the log of roots, 0 before the first. */
  seq: number;
  /** SHA-256 of that entry as it is stored, hex. */
  digest: string;
  /** Public key of who signs the next entry, hex. */
  signer: string;
}

/** Where an installation remembers it: durable, out of the storage's reach. Without it a rollback is not noticed. */
export interface Trust {
  load(repositoryId: string): Promise<SeenHead | undefined>;
  save(repositoryId: string, head: SeenHead): Promise<void>;
}

export interface KeyRotation {
  /** Number of the new key set. */
  keySet: number;
  /** The epoch that backups write with from now on. */
  epoch: number;
}

export interface RootKeyRotation extends KeyRotation {
  /** The new slots; `before` is the id of the one that had this secret. */
  slots: (KeySlotInfo & { before: string })[];
  /** What opens the repository no longer; without `kind` it was damaged. */
  dropped: { id: string; kind?: Secret['kind']; label?: string }[];
  /** Ids of old slots that the store keeps from being deleted; they open old key sets only. */
  left: string[];
}

export interface Repository {
  readonly id: string;
  readonly url: string;
  readonly chunkSize: number;
  /**
   * @param options `machine`: the id of the machine of the point to be. What an interrupted backup of it had stored is then
   * known not to be needed for longer once this one has committed.
   */
  beginBackup(options?: {
    readBack?: boolean;
    machine?: string;
    /** What the session stores a second at most, bytes; within what the store itself is held to. */
    storeRate?: number;
    signal?: AbortSignal;
  }): Promise<WriteSession>;
  /** All points that are not forgotten, oldest first. */
  points(): Promise<Point[]>;
  /** Pins the point until the device is closed. `name` is a disk's name, or `memory`. */
  openDisk(point: Point, name: string, options?: OpenDiskOptions): Promise<PointDevice>;
  readFile(point: Point, name: string): Promise<Uint8Array>;
  /** Raises `integrity` where the point's pages cannot be read. */
  verification(point: Point, signal?: AbortSignal): Promise<PointVerification>;
  /** Byte ranges (whole chunks) in which two roots of one size differ, without reading any data. */
  difference(a: PointDisk, b: PointDisk): Promise<Range[]>;
  /** Raises `refused` while the point is locked, `not-found` when it is not there. */
  forget(point: Point): Promise<void>;
  /**
   * Locks the point until `until` (milliseconds since 1970): nobody can forget it before, nor take its lock away. A
   * lock that lasts longer stays as it is. May be repeated. Answers the point as it is locked then. Raises
   * `not-found` when the point is forgotten, `usage` for a time that is past or beyond 100 years. Where the store can, it
   * keeps all that the point needs from being deleted.
   */
  lock(
    point: Point,
    until: number,
    options?: { signal?: AbortSignal; onProgress?: ProgressListener },
  ): Promise<Point>;
  /** Faults are part of the report; raises only where the store cannot be read at all. */
  check(options: CheckOptions): Promise<CheckReport>;
  /**
   * The way out of damage to the log or to outcomes, which stops collections: restores what is known elsewhere, and has the
   * rest acknowledged. Only creates objects. Raises `refused` where the log was cut or rolled back, `integrity` where it cannot be
   * repaired.
   */
  repair(options: RepairOptions): Promise<RepairReport>;
  collect(options: {
    dryRun?: boolean;
    /** How long to wait for running backups, milliseconds. Default 10 minutes. */
    waitMs?: number;
    /** Refuse to delete more than this share of the packs' bytes. Default 0.8. */
    maxDeleteShare?: number;
    /** Copy at most so many live bytes out of packs that are partly dead. Default: no limit. */
    maxRewriteBytes?: number;
    /** Live bytes that are copied in one round; a round that is over stands. Default 16 GiB. */
    roundBytes?: number;
    /** Free what interrupted backups had stored, too; the next backup of such a machine begins anew. Default false. */
    dropInterrupted?: boolean;
    signal?: AbortSignal;
    onProgress?: ProgressListener;
  }): Promise<CollectReport>;
  status(): Promise<RepositoryStatus>;
  keySlots(): Promise<KeySlotInfo[]>;
  /** Raises `refused` when the repository was opened for reading only, like all that changes something. */
  addKeySlot(secret: Secret, label: string, options?: { readOnly?: boolean }): Promise<KeySlotInfo>;
  /** A new data key for what is written from now on. Raises `busy` when somebody else rotates at the same time. */
  rotateKeys(): Promise<KeyRotation>;
  /**
   * A new root key, data key and signing key. Slots go on whose secrets are given: that which opened this repository, and
   * `others`. Raises `refused` when slots would be lost and `dropOthers` is not set, `wrong-key` for a secret that opens no slot,
   * `busy` while somebody writes.
   */
  rotateRootKey(others: readonly Secret[], options?: { dropOthers?: boolean }): Promise<RootKeyRotation>;
  /** Refuses to remove the last slot and, unless `force`, the one this repository was opened with. */
  removeKeySlot(id: string, options?: { force?: boolean }): Promise<void>;
  close(): Promise<void>;
}

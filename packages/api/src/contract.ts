/**
 * Every operation of Prima, as the command line and (later) HTTP see it: one method a command, plain
 * JSON in and out. The server package implements it in process; a client speaks it over HTTP later.
 */
import type { DiskFileApi } from './disk-file.ts';
import type {
  KeyAddRequest,
  KeyRotationDto,
  KeySlotDto,
  NewKeySlotDto,
  RootKeyRotationDto,
  SecretSource,
} from './keys.ts';
import type { PartitionTableDto } from './partition-table.ts';

/** What long work tells while it goes on. `bytes` and rates are for progress bars. */
export type JobEvent =
  | {
      type: 'log';
      level: 'debug' | 'info' | 'warn' | 'error';
      message: string;
      fields?: Record<string, unknown>;
    }
  | {
      type: 'progress';
      /** "web01 disk0", or a phase of the work. */
      subject: string;
      done: number;
      total?: number;
      read?: number;
      stored?: number;
      bottleneck?: 'source' | 'processing' | 'store';
    };

export interface CallOptions {
  signal?: AbortSignal;
  onEvent?: (event: JobEvent) => void;
}

export interface BackupRequest {
  sources: string[];
  mode?: 'auto' | 'hot' | 'warm' | 'cold';
  full?: boolean;
  /** Leave out what the guest's file systems provably do not use. */
  skipFreeSpace?: boolean;
  name?: string;
  tags?: string[];
  /** Nobody can forget the points for so long. */
  lockMs?: number;
  readBack?: boolean;
  /** The format of disk files whose name and content do not tell it: `raw`, `qcow2`, `vmdk` … */
  sourceFormat?: string;
}

export interface FiguresDto {
  size: number;
  read: number;
  data: number;
  added: number;
  stored: number;
}

export interface DiskDto extends FiguresDto {
  name: string;
  slot?: string;
  path?: string;
  format?: string;
  changed: 'all' | 'tracked';
  whyFull?: string;
  /** Where it was asked for: bytes of free space that were left out, and why not more. */
  freeSpace?: { bytes: number; kept: string[] };
  /** Only where it was asked for. */
  partitionTable?: PartitionTableDto;
}

export interface PointDto extends FiguresDto {
  id: string;
  machine: string;
  machineId: string;
  host?: string;
  time: string;
  finished: string;
  mode: 'hot' | 'warm' | 'cold';
  quiesced: boolean;
  name?: string;
  tags: string[];
  disks: DiskDto[];
  memory?: DiskDto;
  skipped: { name: string; why: string }[];
  files: { name: string; length: number }[];
  notes: string[];
  warnings: string[];
  parent?: string;
  frozenMs?: number;
  pausedMs?: number;
  /** Of a copy: the ids of the repository and the point that it was first copied from. */
  origin?: { repository: string; point: string };
  /** Until when nobody can forget it; it may be in the past. */
  lockedUntil?: string;
}

export interface BackupResult {
  /** One entry per source, in order; a failed one does not stop the others. */
  results: { source: string; point?: PointDto; error?: ErrorDto; elapsedMs: number }[];
}

export interface ErrorDto {
  code: string;
  message: string;
  exitStatus: number;
  details?: Record<string, unknown>;
}

export type ImageFormat = 'raw' | 'qcow2' | 'vmdk';

export interface RestoreToFolderRequest {
  point: string;
  folder: string;
  /** Default: raw. */
  format?: ImageFormat;
  /** Only this disk: its name or number. */
  disk?: string;
  force?: boolean;
  /** Go on where the point cannot be read, with zeros; the result lists them. */
  allowDamaged?: boolean;
}

export interface RestoreToHostRequest {
  point: string;
  host: string;
  as?: string;
  start?: boolean;
  allowDamaged?: boolean;
}

export interface RestoreResult {
  point: PointDto;
  /** Files that were written. */
  files: { disk: string; path: string; size: number }[];
  machine?: MachineDto;
  bytesRead: number;
  bytesWritten: number;
  /** What holds zeros because it cannot be read: bytes. */
  damaged: { disk: string; offset: number; length: number }[];
  elapsedMs: number;
}

export interface ExportRequest {
  point: string;
  disk?: string;
  socket?: string;
  listen?: string;
  /** Writes go to a temporary overlay that ends with the export. */
  writable?: boolean;
  /** Serve zeros where the point cannot be read. Without it clients get an I/O error there. */
  allowDamaged?: boolean;
}

/** An export that is being served until `stop` is called or the signal aborts. */
export interface ExportHandle {
  uris: { disk: string; uri: string }[];
  stop(): Promise<void>;
}

export interface RetentionRules {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
}

export interface ForgetRequest {
  /** A machine's name or id; undefined: every machine on its own. */
  machine?: string;
  /** Exactly these points, instead of rules. */
  points?: string[];
  keep?: RetentionRules;
  /** Never forget points with one of these tags. */
  keepTags?: string[];
  dryRun?: boolean;
}

export interface ForgetResult {
  dryRun: boolean;
  kept: { point: PointDto; reasons: string[] }[];
  forgotten: PointDto[];
}

/** The repository to copy to: a folder's path or a URL, and what opens it. */
export interface CopyTarget {
  url: string;
  secret: SecretSource;
}

export interface CopyRequest {
  /** Exactly one of: these points, all of a machine (its name or id), everything. */
  points?: string[];
  machine?: string;
  all?: boolean;
  to: CopyTarget;
  /** Read both afterwards and compare them, those that had been copied before too. */
  verify?: boolean;
  dryRun?: boolean;
  /** Nobody can forget the copies for so long. */
  lockMs?: number;
  readBack?: boolean;
}

/** Exactly one of `until` (a time as in MACHINE@TIME) and `forMs` (from now). */
export interface LockRequest {
  points: string[];
  until?: string;
  forMs?: number;
}

export interface CopyResult {
  dryRun: boolean;
  to: { id: string; url: string };
  /** One entry a point, the oldest first; a failed one does not stop the others. */
  results: {
    point: PointDto;
    /** `present`: it had been copied before; `planned`: it would be copied. */
    state: 'copied' | 'present' | 'planned' | 'failed';
    /** As it is in the other repository. */
    copy?: PointDto;
    /** Bytes read of the point; of a planned copy those that would be, at most. */
    bytes: number;
    verified: boolean;
    error?: ErrorDto;
    elapsedMs: number;
  }[];
}

export interface CheckResult {
  ok: boolean;
  points: number;
  packs: number;
  blobs: number;
  bytesRead: number;
  faults: {
    kind: string;
    object: string;
    message: string;
    affected: { point: string; machine: string; disk: string; offset: number; length: number }[];
  }[];
  leftovers: string[];
  /** What the check did besides looking. */
  notes: string[];
  /** When the packs were last read: how many in so many days, how many never, the oldest of the others. */
  verification: { never: number; oldest?: string; within: { days: number; packs: number }[] };
  elapsedMs: number;
}

export interface CheckRequest {
  /** Read and verify every stored byte. */
  readData?: boolean;
  /** Read about so many bytes, of what was not read for longest. */
  budgetBytes?: number;
  /** Only what the points of this machine need. */
  machine?: string;
  /** False: write nothing to the repository. */
  record?: boolean;
  /** First write index segments that are missing, from the packs. */
  rebuildIndex?: boolean;
  acceptHead?: boolean;
}

export interface RepairRequest {
  /** Do it; otherwise only the plan is answered. */
  apply?: boolean;
  /** For how long the data of what is given up is kept; 0 ends earlier such times, too. Default 14 days. */
  keepMs?: number;
  /** Other copies of the repository's storage: folders' paths or URLs. */
  from?: string[];
}

export interface RepairResult {
  applied: boolean;
  steps: {
    /** The key of what is damaged or missing. */
    object: string;
    fault: string;
    /** `acknowledged`: it is lost and costs nothing. */
    remedy: 'restored' | 'acknowledged' | 'given-up' | 'released';
    point?: { id: string; machine?: string; time?: string };
  }[];
  /** How many points the log counts that nothing names any more. */
  unknownPoints: number;
  /** Until when nothing is freed because of what is given up. */
  keptUntil?: string;
}

export interface CollectResult {
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
  fenced: { session: string; why: string }[];
  notes: string[];
}

export interface DiffResult {
  a: PointDto;
  b: PointDto;
  disks: {
    name: string;
    onlyIn?: 'a' | 'b';
    changedBytes: number;
    ranges: { offset: number; length: number }[];
  }[];
  files: { name: string; change: 'added' | 'removed' | 'changed' }[];
}

export interface HostDto {
  name: string;
  platform: 'qemu';
  /** The folder of a plain QEMU host. */
  location: string;
}

export interface HostTestResult {
  host: HostDto;
  ok: boolean;
  checks: { name: string; ok: boolean; detail: string }[];
}

export interface MachineDto {
  id: string;
  name: string;
  host: string;
  state: string;
  accelerator?: string;
  memoryBytes: number;
  cpus: number;
  agent: string;
  folder?: string;
  disks: { name: string; slot: string; path: string; format: string; size: number; excluded?: string }[];
  notes: string[];
  /** Time of the newest restore point, where a repository is named. */
  lastPoint?: string;
}

export interface MachineCreateRequest {
  host: string;
  name: string;
  memoryBytes: number;
  cpus: number;
  /** Without `format` an empty disk is raw and a copy is as its source, or qcow2. */
  disks: { size?: number; format?: 'raw' | 'qcow2'; copyOf?: string }[];
  kernel?: string;
  initrd?: string;
  append?: string;
  network?: 'none' | 'user';
}

export interface RepositoryDto {
  id: string;
  url: string;
  chunkSize: number;
  points: number;
  packs: number;
  storedBytes: number;
  /** Distinct chunks, pages and files. */
  blobs: number;
}

/** With the words of the recovery key, where one was asked for: shown once, kept nowhere. */
export interface NewRepositoryDto extends RepositoryDto {
  words?: string[];
}

export interface StorageTestResult {
  url: string;
  /** False when a promise is broken. */
  ok: boolean;
  promises: {
    promise: string;
    /** `untested`: cannot be tested from here; `absent`: not offered, and a repository works without. */
    verdict: 'kept' | 'broken' | 'absent' | 'untested';
    detail: string;
    advice?: string;
  }[];
  /** Missing when a promise is broken. */
  figures?: {
    putBytesPerSecond: number;
    getBytesPerSecond: number;
    putMs: number;
    getMs: number;
    smallPutsPerSecond: number;
  };
  /** Objects of the test that the store keeps for some minutes (retention). */
  left: string[];
  elapsedMs: number;
}

export interface PrimaApi extends DiskFileApi {
  init(
    request: {
      chunkSize?: number;
      level?: number;
      readBack?: boolean;
      label?: string;
      lockMs?: number;
      /** Makes a recovery key besides. */
      recovery?: boolean;
    },
    options?: CallOptions,
  ): Promise<NewRepositoryDto>;
  status(options?: CallOptions): Promise<RepositoryDto>;
  backup(request: BackupRequest, options?: CallOptions): Promise<BackupResult>;
  points(request: { machine?: string; tags?: string[] }, options?: CallOptions): Promise<PointDto[]>;
  /** With `partitions`, the disks' partition tables are read from the point, too. */
  show(request: { point: string; partitions?: boolean }, options?: CallOptions): Promise<PointDto>;
  diff(request: { a: string; b: string }, options?: CallOptions): Promise<DiffResult>;
  restoreToFolder(request: RestoreToFolderRequest, options?: CallOptions): Promise<RestoreResult>;
  restoreToHost(request: RestoreToHostRequest, options?: CallOptions): Promise<RestoreResult>;
  /** Locks points, or extends their locks; answers them as they are locked then. */
  lock(request: LockRequest, options?: CallOptions): Promise<PointDto[]>;
  /**
   * Makes the repository that points are to be copied to, with the chunk size of this one, and with `recovery` a recovery
   * key besides. Raises `exists` unless the place is empty.
   */
  copyCreate(
    request: { to: CopyTarget; recovery?: boolean },
    options?: CallOptions,
  ): Promise<NewRepositoryDto>;
  /** Copies points to another repository. */
  copy(request: CopyRequest, options?: CallOptions): Promise<CopyResult>;
  export(request: ExportRequest, options?: CallOptions): Promise<ExportHandle>;
  check(request: CheckRequest, options?: CallOptions): Promise<CheckResult>;
  /** The way out of damage that stops collections; only adds to the repository. */
  repair(request: RepairRequest, options?: CallOptions): Promise<RepairResult>;
  forget(request: ForgetRequest, options?: CallOptions): Promise<ForgetResult>;
  collect(
    request: {
      dryRun?: boolean;
      waitMs?: number;
      maxDeleteShare?: number;
      maxRewriteBytes?: number;
      dropInterrupted?: boolean;
    },
    options?: CallOptions,
  ): Promise<CollectResult>;
  keyList(options?: CallOptions): Promise<KeySlotDto[]>;
  keyAdd(request: KeyAddRequest, options?: CallOptions): Promise<NewKeySlotDto>;
  keyRemove(request: { id: string; force?: boolean }, options?: CallOptions): Promise<void>;
  keyRotate(options?: CallOptions): Promise<KeyRotationDto>;
  /** A new root key. Slots go on whose secrets are given: what opened the repository, and `others`. */
  keyRotateRoot(
    request: { others?: SecretSource[]; dropOthers?: boolean },
    options?: CallOptions,
  ): Promise<RootKeyRotationDto>;
  hostList(options?: CallOptions): Promise<HostDto[]>;
  hostAdd(request: HostDto, options?: CallOptions): Promise<HostDto>;
  hostTest(request: { name: string }, options?: CallOptions): Promise<HostTestResult>;
  hostRemove(request: { name: string }, options?: CallOptions): Promise<void>;
  machineList(request: { host?: string }, options?: CallOptions): Promise<MachineDto[]>;
  machineShow(request: { machine: string }, options?: CallOptions): Promise<MachineDto>;
  machineCreate(request: MachineCreateRequest, options?: CallOptions): Promise<MachineDto>;
  machinePower(
    request: {
      machine: string;
      action: 'start' | 'stop' | 'kill' | 'suspend' | 'resume';
      timeoutMs?: number;
    },
    options?: CallOptions,
  ): Promise<MachineDto>;
  machineDelete(request: { machine: string }, options?: CallOptions): Promise<void>;
  /** A PNG of the machine's screen. */
  machineScreenshot(request: { machine: string }, options?: CallOptions): Promise<Uint8Array>;
  machineConsole(request: { machine: string; bytes?: number }, options?: CallOptions): Promise<string>;
  /** Holds a user's own storage to what repositories need, and measures it, in a folder that is removed again. */
  storageTest(request: { url: string }, options?: CallOptions): Promise<StorageTestResult>;
  /**
   * Brings back what plain deletes hid in an S3 bucket that keeps versions. Returns the keys, in the bucket, of what
   * came back. `dryRun` only says which.
   */
  storageUndelete(
    request: { url: string; dryRun?: boolean },
    options?: CallOptions,
  ): Promise<{ url: string; keys: string[] }>;
  /** Runs the demonstration; events tell the story, the result is its table. */
  demo(request: { folder?: string; keep?: boolean }, options?: CallOptions): Promise<DemoResult>;
  close(): Promise<void>;
}

export interface DemoStep {
  step: string;
  ok: boolean;
  elapsedMs: number;
  read?: number;
  stored?: number;
  detail: string;
}

export interface DemoResult {
  ok: boolean;
  steps: DemoStep[];
}

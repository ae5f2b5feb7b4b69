/**
 * What the engine asks of a host, whatever kind it is. One folder beside this file per kind of host; see
 * docs/guides/add-a-platform.md.
 */
import type { Logger, Progress, Range } from '@prima/base';
import type { BlockDevice, WritableDevice } from '@prima/block';
import type { HostConfigurationPlatform, HostItem } from './host-item.ts';
import type { RecoveryPlatform } from './recovery.ts';
import type { ResourcePlatform } from './resources.ts';
import type { RollbackPlatform } from './rollback.ts';

export type MachineState = 'running' | 'paused' | 'suspended' | 'off' | 'unknown';

export type BackupMode = 'hot' | 'warm' | 'cold';

export interface MachineDisk {
  /** `disk0`, `disk1` … in the order of the slots; how people name it. */
  name: string;
  /** The controller's slot, `scsi0:0`: stable while the machine's configuration is. */
  slot: string;
  path: string;
  /** As the host names it: `raw`, `qcow2` … */
  format: string;
  /** Bytes the guest sees; 0 where it cannot be told. */
  size: number;
  /** Why it cannot be backed up; undefined when it can. */
  excluded?: string;
  /** What becomes of what the guest writes; hosts without disk modes leave it out. */
  mode?: DiskMode;
  /** Its redo logs, bottom up; `path` is then the top one, and `base` the disk beneath them all. */
  logs?: MachineLog[];
  base?: string;
  /** The device that holds its data, where the disk is a raw device mapping. */
  lun?: { device: string; identities: readonly string[] };
}

/** See docs/format/redo-log.md. `independent` disks stay out of snapshots. */
export interface DiskMode {
  kind: 'persistent' | 'nonpersistent' | 'undoable' | 'append';
  independent: boolean;
}

export interface MachineLog {
  id: string;
  path: string;
  /** Who wants it: a person, the disk's mode, or a backup that is under way. */
  purpose: 'asked' | 'mode' | 'backup';
  /** ISO 8601. */
  made: string;
}

export interface Machine {
  /** Stable for the machine's life: its UUID, lower case. */
  id: string;
  name: string;
  /** The host's name, as `host add` was told. */
  host: string;
  state: MachineState;
  /** What runs or would run its processors: `kvm` or `tcg`. */
  accelerator?: string;
  /** Where its configuration lies, on hosts that keep machines in folders. */
  folder?: string;
  memoryBytes: number;
  cpus: number;
  disks: MachineDisk[];
  agent: 'answers' | 'silent' | 'unknown';
  /** For people: what was odd when it was looked at. */
  notes: string[];
}

/**
 * What lets the next backup of the same machine into the same repository read only changes. Plain JSON, stored
 * in the restore point, opaque to everyone but the platform that made it.
 */
export interface Checkpoint {
  /** Kind of host, and version of what follows; a platform ignores checkpoints that it does not know. */
  platform: string;
  version: number;
  [key: string]: unknown;
}

/** A small file that belongs to a point. */
export interface ConfigFile {
  /** A plain name, or a relative path with `/`. */
  name: string;
  bytes: Uint8Array;
}

export interface ScratchOptions {
  /** Where the guest's overwritten blocks are kept while a backup reads. Default: the machine's own folder. */
  folder?: string;
  /** Bytes at most, each disk; the reading fails, never the guest, when it is full. */
  limitBytes?: number;
}

export interface OpenForBackupOptions {
  /** `auto`: hot when running, cold when off or suspended. */
  mode: BackupMode | 'auto';
  /** Who tracks changes: the repository's id. Several repositories do not disturb each other. */
  owner: string;
  /** Of the newest restore point of this machine in that repository. */
  since?: Checkpoint;
  /** Read everything; changes are tracked from here on all the same. */
  full?: boolean;
  scratch?: ScratchOptions;
  /**
   * How a running machine's disks are held still: `filter` copies what the guest overwrites meanwhile; `redo` has it
   * write to redo logs, which are merged at the end. Default `filter`. Without change tracking.
   */
  method?: 'filter' | 'redo';
  signal?: AbortSignal;
  logger?: Logger;
}

export interface DiskReading {
  disk: MachineDisk;
  /** The disk at the point in time, read-only. Closed by the reading's `close`. */
  device: BlockDevice;
  /**
   * Everything that may differ from the point that `since` came from: too much perhaps, never too little.
   * Ascending, merged. Undefined when it is not known, and `whyFull` says why.
   */
  changed?: Range[];
  whyFull?: string;
}

export interface MachineReading {
  mode: BackupMode;
  /** The guest's file systems were frozen by its agent at the point in time. */
  quiesced: boolean;
  /** A sentence for every choice and fallback that was made. */
  why: string[];
  /** Milliseconds since 1970. */
  pointInTime: number;
  /** How long the guest's file systems were frozen, and its processors stopped; milliseconds. */
  frozenMs?: number;
  pausedMs?: number;
  disks: DiskReading[];
  skipped: { disk: MachineDisk; why: string }[];
  /** The machine's memory and device state, padded with zeros to a multiple of 512; opaque. */
  memory?: BlockDevice;
  files: ConfigFile[];
  checkpoint: Checkpoint;
  /** All has been read, and the restore point is about to be committed: a process that dies from here on may have a point. */
  committing?(): Promise<void>;
  /**
   * The restore point is committed: changes are counted from this point in time on, and what counted from the
   * one before goes. Before `close`, once. When it fails the next backup reads everything, nothing worse.
   */
  succeed(): Promise<void>;
  /**
   * Takes everything back that reading needed. Without `succeed`, the next backup can still start from the
   * earlier checkpoint. Always called; may be called again.
   */
  close(): Promise<void>;
}

export interface RestoreDisk {
  /** From the point: where it goes in the machine's configuration. */
  slot: string;
  name: string;
  size: number;
  /** The format it had; where the host cannot write it, it becomes another and `notes` says so. */
  format: string;
  /** The device that the disk stands for from now on; it gets no file of its own then, and is not written to. */
  lun?: { device: string; identities: readonly string[] };
}

export interface RestoreRequest {
  /** The machine's id in the point. */
  id: string;
  /** The name it gets; where it is not the name it had, the machine is a copy and gets its own identity. */
  name: string;
  /** Those of the point, with the configuration in the host's own dialect; see `foreign`. */
  files: readonly ConfigFile[];
  /**
   * A configuration in the dialect of another kind of host, instead of one in `files`: it is translated, and what this kind of
   * host does not have is in the target's `notes`.
   */
  foreign?: ConfigFile;
  disks: readonly RestoreDisk[];
  /** Size of `MachineReading.memory`; absent when the point has none. */
  memory?: { size: number };
  /** The host's storage pool that all disks go to. Raises `unsupported` on hosts without pools. */
  pool?: string;
  /** The format that all disks get; default: the one they had. Raises `unsupported` where the host cannot choose. */
  format?: 'raw' | 'qcow2';
  /** From the network or bridge that a card was on to one of this host, or to `none`. Raises `unsupported` likewise. */
  networks?: Readonly<Record<string, string>>;
  /**
   * Takes the place of the machine of that name, which is off and keeps its identity; its old disks go. Raises `not-found` where
   * there is none, `unsupported` on hosts that cannot.
   */
  replace?: boolean;
  /** With `replace`: only `disks` are replaced; all else of the machine stays as the host has it. */
  onlyDisks?: boolean;
  /** Bytes that are going to be written to all of these, as far as it is known; for hosts that can tell whether there is room. */
  dataBytes?: number;
  signal?: AbortSignal;
  logger?: Logger;
}

/** A machine being restored: invisible on the host until `commit`. */
export interface RestoreTarget {
  /** `device` is absent for a disk that stands for a device. */
  disks: { slot: string; path: string; device?: WritableDevice }[];
  memory?: WritableDevice;
  /** What differs from the original, for people: "a new UUID, because web01 is still there". */
  notes: string[];
  /**
   * Flushes and publishes the machine, at once and durably; with `start` runs it, or lets it go on where its
   * memory was taken. Raises `exists`, and changes nothing, when a machine of this name has come up meanwhile.
   */
  commit(options?: { start?: boolean }): Promise<Machine>;
  /** Removes everything; may be called again, and after `commit` does nothing. */
  abort(): Promise<void>;
}

export type PowerAction = 'start' | 'stop' | 'kill' | 'suspend' | 'resume' | 'pause' | 'continue';

/** What becomes of the log of an undoable disk: at a start, or at the end of a run. */
export type RedoChoice = 'commit' | 'discard' | 'append' | 'keep';

export interface PowerOptions {
  /** `start`: commit, discard or append. `stop` and `kill`: commit, discard or keep, which is the default. */
  redo?: RedoChoice;
  /** `stop`: how long the guest may take before it is stopped hard. Default 60 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
  logger?: Logger;
}

export interface CreateRequest {
  name: string;
  memoryBytes: number;
  cpus: number;
  /**
   * An empty disk of `size` bytes, or a copy of the disk file `copyOf` with all its backing files (grown to `size`
   * where it is given). Without `format` an empty disk is raw and a copy is as its source, or qcow2.
   */
  disks: readonly { size?: number; format?: 'raw' | 'qcow2'; copyOf?: string }[];
  kernel?: string;
  initrd?: string;
  append?: string;
  /** `none` (default), or `user`: out through this host's addresses, cut off from its networks. */
  network?: 'none' | 'user';
  /** What the disks are attached to. Default `virtio-blk`. */
  diskController?: 'virtio-blk' | 'virtio-scsi';
}

/** Which disks, by name (`disk0`) or slot; all that can have redo logs where it is absent. */
export interface RedoSelection {
  disks?: readonly string[];
  signal?: AbortSignal;
  logger?: Logger;
}

export interface RedoAddOptions extends RedoSelection {
  /** Freeze the guest's file systems for the moment, where its agent answers. Default true. */
  quiesce?: boolean;
}

export interface RedoCommitOptions extends RedoSelection {
  /** 0: the log that is written to; 1: the one next to it … Default 0. */
  level?: number;
  /** Pause the machine for all of the merge, not only its end. Default false. */
  freeze?: boolean;
  onProgress?: (disk: string, progress: Progress) => void;
}

/** What was done to one disk. */
export interface RedoDone {
  disk: string;
  log: MachineLog;
  /** Bytes merged. */
  bytes?: number;
}

export interface RedoResult {
  done: RedoDone[];
  /** How long the guest was paused, or its file systems frozen; milliseconds. */
  pausedMs?: number;
  frozenMs?: number;
  /** Sentences for people. */
  why: string[];
}

/** Redo logs of a host's machines, running or not. Each call raises `refused` where foreign logs are in the way. */
export interface RedoPlatform {
  /** Adds a log to every selected disk, all at one point in time. Raises `refused` at the limit. */
  add(machine: Machine, options?: RedoAddOptions): Promise<RedoResult>;
  /** Raises `not-found` for a level that a disk does not have. */
  commit(machine: Machine, options?: RedoCommitOptions): Promise<RedoResult>;
  /** Gives up what was written since the top log was added. Raises `state` for a machine that is not off. */
  discard(machine: Machine, options?: RedoSelection): Promise<RedoResult>;
}

/** What was found and undone after a process of ours died. */
export interface Recovery {
  machine: string;
  undone: string[];
  /** What could not be undone now, and why; tried again at the next call. */
  left: string[];
}

export interface DoctorOptions {
  /** The repository whose points are meant, and the newest point's checkpoint in it. */
  owner?: string;
  since?: Checkpoint;
  /** Undo also what processes of hosts that cannot be asked began, and thaw a guest that is frozen for nobody. */
  takeOver?: boolean;
}

/** What was found of a machine, and what was done about it. */
export interface DoctorFinding {
  /** A disk, a checkpoint, the machine. */
  subject: string;
  found: string;
  done?: string;
}

/** A driver for one kind of host. Every call may be made by several processes at once. */
export interface Platform {
  /** The kind of host: `qemu`. */
  readonly kind: string;
  /** The host's name. */
  readonly name: string;
  /** Whether this host can be used, check by check; raises nothing but for our own mistakes. */
  test(): Promise<{ name: string; ok: boolean; detail: string }[]>;
  /** All machines, by name. One that cannot be read is in state `unknown` with a note, never missing. */
  inventory(signal?: AbortSignal): Promise<Machine[]>;
  /** By name or id; raises `not-found`, or `ambiguous`. */
  find(nameOrId: string, signal?: AbortSignal): Promise<Machine>;
  /** The machine's configuration as the host keeps it, in the host's own dialect. */
  configuration(machine: Machine): Promise<ConfigFile>;
  /**
   * Opens a machine's disks at one point in time. Raises `busy` when it is being backed up already, `state`
   * when the mode does not fit its state, `unsupported` when the mode cannot be had.
   */
  openForBackup(machine: Machine, options: OpenForBackupOptions): Promise<MachineReading>;
  /** Raises `exists` when there is a machine of that name, `no-space` where there is no room for what it holds. */
  prepareRestore(request: RestoreRequest): Promise<RestoreTarget>;
  /** Does nothing where the state is reached already; raises `state` where the action does not fit it. */
  power(machine: Machine, action: PowerAction, options?: PowerOptions): Promise<Machine>;
  /** A PNG of the screen. Raises `state` when it is off, `unsupported` when it has no screen. */
  screenshot(machine: Machine): Promise<Uint8Array>;
  /** The last `bytes` (default 64 KiB) of the serial console of the current or last run. */
  consoleLog(machine: Machine, bytes?: number): Promise<string>;
  create(request: CreateRequest): Promise<Machine>;
  /** Finds out what stands in the way of the next backup, and mends what can be; hosts that mend silently leave it out. */
  doctor?(machine: Machine, options?: DoctorOptions): Promise<DoctorFinding[]>;
  /** Redo logs; undefined for hosts that have none. */
  readonly redo?: RedoPlatform;
  /** The disks' state before a patch, kept on the host; undefined for hosts without. */
  readonly rollback?: RollbackPlatform;
  /** What machines may use of the host; undefined for hosts that do not limit it. */
  readonly resources?: ResourcePlatform;
  /** Machines that run from a repository; undefined for hosts that cannot. */
  readonly recovery?: RecoveryPlatform;
  /** Removes the machine with its disks; raises `state` when it runs. */
  delete(machine: Machine): Promise<void>;
  /**
   * What would be needed to set up this host again, but for its machines. What cannot be read is left out, and `warn` is told
   * in a sentence.
   */
  hostConfiguration(warn?: (text: string) => void): AsyncIterable<HostItem>;
  /** Puts a host's configuration back; undefined for hosts where that is not done. */
  readonly configurations?: HostConfigurationPlatform;
  /** Undoes what dead processes of ours left on this host's machines; leaves alone what is under way. */
  recover(): Promise<Recovery[]>;
  /** Lets the host go: its connections end. What is open on it has to be closed before. May be called again. */
  close(): Promise<void>;
}

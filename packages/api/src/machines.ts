/** What the contract says of hosts and their machines. */
import type { CallOptions } from './call.ts';

export interface HostDto {
  name: string;
  platform: 'qemu' | 'libvirt';
  /** The folder of a plain QEMU host; the address of a libvirt daemon: `qemu:///system`, `qemu+ssh://root@host/system`. */
  location: string;
}

export interface HostTestResult {
  host: HostDto;
  ok: boolean;
  checks: { name: string; ok: boolean; detail: string }[];
}

export interface MachineDiskDto {
  name: string;
  slot: string;
  /** What the guest writes to: the top redo log, where it has any. */
  path: string;
  format: string;
  size: number;
  excluded?: string;
  /** `persistent`, `independent-nonpersistent` … */
  mode?: string;
  /** How many redo logs it has. */
  logs: number;
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
  disks: MachineDiskDto[];
  notes: string[];
  /** Time of the newest restore point, where a repository is named. */
  lastPoint?: string;
}

/** At a start: commit, discard or append; at the end of a run: commit, discard or keep (the default). */
export type RedoChoice = 'commit' | 'discard' | 'append' | 'keep';

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

export interface MachineImportRequest {
  host: string;
  /** An OVA, an OVF envelope with its files beside it, or a .vmx with its disks. */
  path: string;
  /** Default: the name that the package says. */
  name?: string;
  /** Of an envelope with several machines: which, by its `ovf:id`. */
  system?: string;
  start?: boolean;
}

export interface MachineImportResult {
  machine: MachineDto;
  /** What is not as the package says. */
  notes: string[];
  disks: { name: string; path: string; size: number }[];
  bytesRead: number;
  bytesWritten: number;
  elapsedMs: number;
}

export interface MachineExportRequest {
  /** HOST/MACHINE, or a machine's folder or .vmx. */
  machine: string;
  /** The export goes to a folder in it, named like the machine. */
  folder: string;
  /** Of the disks: twoGbMaxExtentSparse (default), monolithicSparse, monolithicFlat, streamOptimized. */
  kind?: string;
  /** How a running machine's disks are held still. Default `redo`. */
  method?: 'redo' | 'filter';
  /** Replace an export that is there. */
  force?: boolean;
}

export interface MachineExportResult {
  machine: string;
  folder: string;
  vmx: string;
  mode: string;
  quiesced: boolean;
  notes: string[];
  disks: { name: string; path: string; size: number }[];
  skipped: { name: string; why: string }[];
  bytesRead: number;
  bytesWritten: number;
  elapsedMs: number;
}

export interface MachineDoctorResult {
  machine: string;
  findings: { subject: string; found: string; done?: string }[];
}

export interface MachinesApi {
  hostList(options?: CallOptions): Promise<HostDto[]>;
  hostAdd(request: HostDto, options?: CallOptions): Promise<HostDto>;
  hostTest(request: { name: string }, options?: CallOptions): Promise<HostTestResult>;
  hostRemove(request: { name: string }, options?: CallOptions): Promise<void>;
  machineList(request: { host?: string }, options?: CallOptions): Promise<MachineDto[]>;
  machineShow(request: { machine: string }, options?: CallOptions): Promise<MachineDto>;
  machineCreate(request: MachineCreateRequest, options?: CallOptions): Promise<MachineDto>;
  /** Makes a machine of a package, whose manifest is verified first. */
  machineImport(request: MachineImportRequest, options?: CallOptions): Promise<MachineImportResult>;
  machineExport(request: MachineExportRequest, options?: CallOptions): Promise<MachineExportResult>;
  machinePower(
    request: {
      machine: string;
      action: 'start' | 'stop' | 'kill' | 'suspend' | 'resume';
      timeoutMs?: number;
      /** What becomes of the log of an undoable disk. */
      redo?: RedoChoice;
    },
    options?: CallOptions,
  ): Promise<MachineDto>;
  /** Finds out what stands in the way of a machine's next backup, and mends what can be. */
  machineDoctor(
    request: { machine: string; takeOver?: boolean },
    options?: CallOptions,
  ): Promise<MachineDoctorResult>;
  machineDelete(request: { machine: string }, options?: CallOptions): Promise<void>;
  /** A PNG of the machine's screen. */
  machineScreenshot(request: { machine: string }, options?: CallOptions): Promise<Uint8Array>;
  machineConsole(request: { machine: string; bytes?: number }, options?: CallOptions): Promise<string>;
}

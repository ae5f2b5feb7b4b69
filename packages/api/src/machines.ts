/** What the contract says of hosts and their machines. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, count, elapsed, isoTime, milliseconds, name, place, text, word } from './values.ts';

const platform = z.enum(['qemu', 'libvirt']);

export const HostDto = z.object({
  name: z.string(),
  platform,
  /** The folder of a plain QEMU host; the address of a libvirt daemon: `qemu:///system`, `qemu+ssh://root@host/system`. */
  location: z.string(),
  /** The worker of a server that it is at. */
  worker: z.string().optional(),
});
export type HostDto = z.infer<typeof HostDto>;

export const HostAddRequest = z.strictObject({
  name,
  platform,
  location: place.meta({
    description:
      'the folder of a plain QEMU host; the address of a libvirt daemon: qemu:///system, qemu+ssh://root@host/system',
  }),
});
export type HostAddRequest = z.infer<typeof HostAddRequest>;

/** Of operations on one host that is registered. */
export const HostRequest = z.strictObject({ name });
export type HostRequest = z.infer<typeof HostRequest>;

export const HostTestResult = z.object({
  host: HostDto,
  ok: z.boolean(),
  checks: z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string() })),
});
export type HostTestResult = z.infer<typeof HostTestResult>;

export const MachineDiskDto = z.object({
  name: z.string(),
  slot: z.string(),
  /** What the guest writes to: the top redo log, where it has any. */
  path: z.string(),
  format: z.string(),
  size: bytes,
  excluded: z.string().optional(),
  /** `persistent`, `independent-nonpersistent` … */
  mode: z.string().optional(),
  /** How many redo logs it has. */
  logs: count,
});
export type MachineDiskDto = z.infer<typeof MachineDiskDto>;

export const MachineDto = z.object({
  id: z.string(),
  name: z.string(),
  host: z.string(),
  state: z.string(),
  accelerator: z.string().optional(),
  memoryBytes: bytes,
  cpus: count,
  agent: z.string(),
  folder: z.string().optional(),
  disks: z.array(MachineDiskDto),
  notes: z.array(z.string()),
  /** Time of the newest restore point, where a repository is named. */
  lastPoint: isoTime.optional(),
});
export type MachineDto = z.infer<typeof MachineDto>;

/** A machine on a host: HOST/MACHINE, or a name or id that only one host has. */
const machine = place.meta({
  description: 'HOST/MACHINE, or the name or id of a machine that only one host has',
});

/** Of operations on one machine. */
export const MachineRequest = z.strictObject({ machine });
export type MachineRequest = z.infer<typeof MachineRequest>;

export const MachineListRequest = z.strictObject({ host: name.optional() });
export type MachineListRequest = z.infer<typeof MachineListRequest>;

/** At a start: commit, discard or append; at the end of a run: commit, discard or keep (the default). */
export const RedoChoice = z.enum(['commit', 'discard', 'append', 'keep']);
export type RedoChoice = z.infer<typeof RedoChoice>;

export const MachineCreateRequest = z.strictObject({
  host: name,
  name,
  memoryBytes: bytes.min(1),
  cpus: z.int().min(1).max(4096),
  /** Without `format` an empty disk is raw and a copy is as its source, or qcow2. */
  disks: z
    .array(
      z.strictObject({
        size: bytes.optional(),
        format: z.enum(['raw', 'qcow2']).optional(),
        copyOf: place.optional(),
      }),
    )
    .max(64),
  kernel: place.optional(),
  initrd: place.optional(),
  append: text.optional(),
  network: z.enum(['none', 'user']).optional(),
});
export type MachineCreateRequest = z.infer<typeof MachineCreateRequest>;

export const MachineImportRequest = z.strictObject({
  host: name,
  /** An OVA, an OVF envelope with its files beside it, or a .vmx with its disks. */
  path: place,
  /** Default: the name that the package says. */
  name: name.optional(),
  /** Of an envelope with several machines: which, by its `ovf:id`. */
  system: name.optional(),
  start: z.boolean().optional(),
});
export type MachineImportRequest = z.infer<typeof MachineImportRequest>;

const writtenDisk = z.object({ name: z.string(), path: z.string(), size: bytes });

export const MachineImportResult = z.object({
  machine: MachineDto,
  /** What is not as the package says. */
  notes: z.array(z.string()),
  disks: z.array(writtenDisk),
  bytesRead: bytes,
  bytesWritten: bytes,
  elapsedMs: elapsed,
});
export type MachineImportResult = z.infer<typeof MachineImportResult>;

export const MachineExportRequest = z.strictObject({
  /** HOST/MACHINE, or a machine's folder or .vmx. */
  machine: place,
  /** The export goes to a folder in it, named like the machine. */
  folder: place,
  /** Of the disks: twoGbMaxExtentSparse (default), monolithicSparse, monolithicFlat, streamOptimized. */
  kind: word.optional(),
  /** How a running machine's disks are held still. Default `redo`. */
  method: z.enum(['redo', 'filter']).optional(),
  /** Replace an export that is there. */
  force: z.boolean().optional(),
});
export type MachineExportRequest = z.infer<typeof MachineExportRequest>;

export const MachineExportResult = z.object({
  machine: z.string(),
  folder: z.string(),
  vmx: z.string(),
  mode: z.string(),
  quiesced: z.boolean(),
  notes: z.array(z.string()),
  disks: z.array(writtenDisk),
  skipped: z.array(z.object({ name: z.string(), why: z.string() })),
  bytesRead: bytes,
  bytesWritten: bytes,
  elapsedMs: elapsed,
});
export type MachineExportResult = z.infer<typeof MachineExportResult>;

export const MachinePowerRequest = MachineRequest.extend({
  action: z.enum(['start', 'stop', 'kill', 'suspend', 'resume']),
  timeoutMs: milliseconds.optional(),
  /** What becomes of the log of an undoable disk. */
  redo: RedoChoice.optional(),
});
export type MachinePowerRequest = z.infer<typeof MachinePowerRequest>;

export const MachineDoctorRequest = MachineRequest.extend({ takeOver: z.boolean().optional() });
export type MachineDoctorRequest = z.infer<typeof MachineDoctorRequest>;

export const MachineDoctorResult = z.object({
  machine: z.string(),
  findings: z.array(z.object({ subject: z.string(), found: z.string(), done: z.string().optional() })),
});
export type MachineDoctorResult = z.infer<typeof MachineDoctorResult>;

export const MachineConsoleRequest = MachineRequest.extend({
  /** Of the console's end, at most. */
  bytes: bytes.optional(),
});
export type MachineConsoleRequest = z.infer<typeof MachineConsoleRequest>;

/** A PNG. */
export const MachineScreenshot = z.instanceof(Uint8Array);
export type MachineScreenshot = Uint8Array;

export interface MachinesApi {
  hostList(options?: CallOptions): Promise<HostDto[]>;
  hostAdd(request: HostAddRequest, options?: CallOptions): Promise<HostDto>;
  hostTest(request: HostRequest, options?: CallOptions): Promise<HostTestResult>;
  hostRemove(request: HostRequest, options?: CallOptions): Promise<void>;
  machineList(request: MachineListRequest, options?: CallOptions): Promise<MachineDto[]>;
  machineShow(request: MachineRequest, options?: CallOptions): Promise<MachineDto>;
  machineCreate(request: MachineCreateRequest, options?: CallOptions): Promise<MachineDto>;
  /** Makes a machine of a package, whose manifest is verified first. */
  machineImport(request: MachineImportRequest, options?: CallOptions): Promise<MachineImportResult>;
  machineExport(request: MachineExportRequest, options?: CallOptions): Promise<MachineExportResult>;
  machinePower(request: MachinePowerRequest, options?: CallOptions): Promise<MachineDto>;
  /** Finds out what stands in the way of a machine's next backup, and mends what can be. */
  machineDoctor(request: MachineDoctorRequest, options?: CallOptions): Promise<MachineDoctorResult>;
  machineDelete(request: MachineRequest, options?: CallOptions): Promise<void>;
  /** A PNG of the machine's screen. */
  machineScreenshot(request: MachineRequest, options?: CallOptions): Promise<MachineScreenshot>;
  machineConsole(request: MachineConsoleRequest, options?: CallOptions): Promise<string>;
}

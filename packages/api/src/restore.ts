/** What the contract says of restores and exports. */
import type { CallOptions } from './call.ts';
import type { NotCarriedDto } from './machine-configuration.ts';
import type { MachineDto } from './machines.ts';
import type { PointDto } from './points.ts';

export type ImageFormat = 'raw' | 'qcow2' | 'vmdk';
/** One file, or an envelope with its disks and manifest beside it. */
export type PackageFormat = 'ova' | 'ovf';

/** Disks that were devices (raw device mappings) stand for these again, found by who they are. */
export interface LunChoiceDto {
  /** Where they may be now, besides where they were and what this computer has: `/dev/…`, `iscsi://…`. */
  devices?: readonly string[];
  /** Write what the point holds over them; otherwise they are left as they are. */
  overwrite?: boolean;
}

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
  /** Default: disks that were devices become disk files. */
  luns?: LunChoiceDto;
}

export interface RestoreToDeviceRequest {
  point: string;
  /** `/dev/…`, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: string;
  /** Its name or number. Default: the only one, or the only one that was a device. */
  disk?: string;
  /** What is on the device may go. Refused without it. */
  overwrite?: boolean;
  /** Another device than the disk was, of its size or larger. */
  force?: boolean;
  allowDamaged?: boolean;
}

export interface RestoreToPackageRequest {
  point: string;
  /** The OVA, or the envelope. */
  path: string;
  format: PackageFormat;
  force?: boolean;
  allowDamaged?: boolean;
}

export interface RestoreToHostRequest {
  point: string;
  host: string;
  as?: string;
  /** The host's storage pool that all disks go to; default: where they were. */
  pool?: string;
  /** The format that all disks get there; default: the one they had. */
  format?: 'raw' | 'qcow2';
  /** From the network or bridge that a card was on to one of the host, or to `none`. */
  networks?: Record<string, string>;
  /** Take the place of the machine of that name, which is off and keeps its identity. */
  replace?: boolean;
  /** With `replace`: only this disk. */
  disk?: string;
  start?: boolean;
  allowDamaged?: boolean;
  /** Default: disks that were devices become disk files. */
  luns?: LunChoiceDto;
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
  /** Of a package: what it does not have of the machine. */
  notCarried?: NotCarriedDto[];
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

export interface RestoreApi {
  restoreToFolder(request: RestoreToFolderRequest, options?: CallOptions): Promise<RestoreResult>;
  /** Over a device, whose content is lost; `files` has its address. */
  restoreToDevice(request: RestoreToDeviceRequest, options?: CallOptions): Promise<RestoreResult>;
  /** As an OVF package, with disks as streamOptimized VMDKs. */
  restoreToPackage(request: RestoreToPackageRequest, options?: CallOptions): Promise<RestoreResult>;
  restoreToHost(request: RestoreToHostRequest, options?: CallOptions): Promise<RestoreResult>;
  export(request: ExportRequest, options?: CallOptions): Promise<ExportHandle>;
}

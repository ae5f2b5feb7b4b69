/** What the contract says of restores and exports. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { NotCarriedDto } from './machine-configuration.ts';
import { MachineDto } from './machines.ts';
import { PointDto } from './points.ts';
import { bytes, elapsed, name, place, pointName } from './values.ts';

export const ImageFormat = z.enum(['raw', 'qcow2', 'vmdk']);
export type ImageFormat = z.infer<typeof ImageFormat>;
/** One file, or an envelope with its disks and manifest beside it. */
export const PackageFormat = z.enum(['ova', 'ovf']);
export type PackageFormat = z.infer<typeof PackageFormat>;

/** A disk of a point. */
const disk = name.meta({ description: 'a disk by its name or number' });

/** Disks that were devices (raw device mappings) stand for these again, found by who they are. */
export const LunChoiceDto = z.strictObject({
  /** Where they may be now, besides where they were and what this computer has: `/dev/…`, `iscsi://…`. */
  devices: z.array(place).max(256).readonly().optional(),
  /** Write what the point holds over them; otherwise they are left as they are. */
  overwrite: z.boolean().optional(),
});
export type LunChoiceDto = z.infer<typeof LunChoiceDto>;

export const RestoreToFolderRequest = z.strictObject({
  point: pointName,
  folder: place,
  /** Default: raw. */
  format: ImageFormat.optional(),
  /** Only this disk: its name or number. */
  disk: disk.optional(),
  force: z.boolean().optional(),
  /** Go on where the point cannot be read, with zeros; the result lists them. */
  allowDamaged: z.boolean().optional(),
  /** Default: disks that were devices become disk files. */
  luns: LunChoiceDto.optional(),
});
export type RestoreToFolderRequest = z.infer<typeof RestoreToFolderRequest>;

export const RestoreToDeviceRequest = z.strictObject({
  point: pointName,
  /** `/dev/…`, or `iscsi://HOST[:PORT]/TARGET/LUN`. */
  device: place,
  /** Its name or number. Default: the only one, or the only one that was a device. */
  disk: disk.optional(),
  /** What is on the device may go. Refused without it. */
  overwrite: z.boolean().optional(),
  /** Another device than the disk was, of its size or larger. */
  force: z.boolean().optional(),
  allowDamaged: z.boolean().optional(),
});
export type RestoreToDeviceRequest = z.infer<typeof RestoreToDeviceRequest>;

export const RestoreToPackageRequest = z.strictObject({
  point: pointName,
  /** The OVA, or the envelope. */
  path: place,
  format: PackageFormat,
  force: z.boolean().optional(),
  allowDamaged: z.boolean().optional(),
});
export type RestoreToPackageRequest = z.infer<typeof RestoreToPackageRequest>;

export const RestoreToHostRequest = z.strictObject({
  point: pointName,
  host: name,
  as: name.optional(),
  /** The host's storage pool that all disks go to; default: where they were. */
  pool: name.optional(),
  /** The format that all disks get there; default: the one they had. */
  format: z.enum(['raw', 'qcow2']).optional(),
  /** From the network or bridge that a card was on to one of the host, or to `none`. */
  networks: z
    .record(name, name)
    .refine((all) => Object.keys(all).length <= 256, 'it must be 256 networks at most')
    .optional(),
  /** Take the place of the machine of that name, which is off and keeps its identity. */
  replace: z.boolean().optional(),
  /** With `replace`: only this disk. */
  disk: disk.optional(),
  start: z.boolean().optional(),
  allowDamaged: z.boolean().optional(),
  /** Default: disks that were devices become disk files. */
  luns: LunChoiceDto.optional(),
});
export type RestoreToHostRequest = z.infer<typeof RestoreToHostRequest>;

export const RestoreResult = z.object({
  point: PointDto,
  /** Files that were written. */
  files: z.array(z.object({ disk: z.string(), path: z.string(), size: bytes })),
  machine: MachineDto.optional(),
  bytesRead: bytes,
  bytesWritten: bytes,
  /** What holds zeros because it cannot be read: bytes. */
  damaged: z.array(z.object({ disk: z.string(), offset: bytes, length: bytes })),
  /** Of a package: what it does not have of the machine. */
  notCarried: z.array(NotCarriedDto).optional(),
  elapsedMs: elapsed,
});
export type RestoreResult = z.infer<typeof RestoreResult>;

export const ExportRequest = z
  .strictObject({
    point: pointName,
    disk: disk.optional(),
    socket: place.optional(),
    listen: z.string().min(1).max(255).optional().meta({ description: '127.0.0.1:10809 or [::1]:10809' }),
    /** Writes go to a temporary overlay that ends with the export. */
    writable: z.boolean().optional(),
    /** Serve zeros where the point cannot be read. Without it clients get an I/O error there. */
    allowDamaged: z.boolean().optional(),
  })
  .meta({ description: 'exactly one of socket and listen' });
export type ExportRequest = z.infer<typeof ExportRequest>;

/** Where the disks of a point are served. */
export const ExportDto = z.object({ uris: z.array(z.object({ disk: z.string(), uri: z.string() })) });
export type ExportDto = z.infer<typeof ExportDto>;

/** An export that is being served until `stop` is called or the signal aborts. */
export interface ExportHandle extends ExportDto {
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

/** From the engine's shapes to the API's. Pure. */
import type { DiskDto, ErrorDto, FiguresDto, MachineDto, PartitionTableDto, PointDto } from '@prima/api';
import { type PrimaError, toPrimaError } from '@prima/base';
import type { PartitionTable } from '@prima/engine';
import type { Machine } from '@prima/platforms';
import type { Point, PointDisk } from '@prima/repository';

export function pointDto(point: Point): PointDto {
  const disks = point.disks.map(diskDto);
  const memory = point.memory && diskDto(point.memory);
  const { machine, checkpoint: _checkpoint, ...rest } = point;
  return {
    ...totals(memory ? [...disks, memory] : disks),
    size: disks.reduce((sum, disk) => sum + disk.size, 0),
    id: rest.id,
    machine: machine.name,
    machineId: machine.id,
    host: machine.host,
    ...(machine.id.startsWith('host:') ? { isHost: true } : {}),
    time: rest.time,
    finished: rest.finished,
    mode: rest.mode,
    quiesced: rest.quiesced,
    name: rest.name,
    tags: rest.tags,
    disks,
    memory,
    skipped: rest.skipped,
    files: rest.files.map(({ name, length }) => ({ name, length })),
    notes: rest.notes,
    warnings: rest.warnings,
    parent: rest.parent,
    frozenMs: rest.frozenMs,
    pausedMs: rest.pausedMs,
    origin: rest.origin,
    lockedUntil: rest.lockedUntil,
  };
}

function diskDto({ root: _root, figures, freeSpace, ...disk }: PointDisk): DiskDto {
  const { read, data, added, stored } = figures;
  const left = freeSpace && { freeSpace: { bytes: freeSpace.bytes, kept: freeSpace.kept } };
  return { ...disk, ...left, read, data, added, stored };
}

/** Without what only the code needs. */
export function partitionTableDto(table: PartitionTable): PartitionTableDto {
  const { intact: _intact, partitions, ...rest } = table;
  return { ...rest, partitions: partitions.map(({ alsoShows: _alsoShows, ...partition }) => partition) };
}

function totals(disks: readonly DiskDto[]): FiguresDto {
  const sum = { size: 0, read: 0, data: 0, added: 0, stored: 0 };
  for (const disk of disks) {
    sum.size += disk.size;
    sum.read += disk.read;
    sum.data += disk.data;
    sum.added += disk.added;
    sum.stored += disk.stored;
  }
  return sum;
}

export function machineDto(machine: Machine, lastPoint?: string): MachineDto {
  const disks = machine.disks.map(({ name, slot, path, format, size, excluded, mode, logs = [] }) => ({
    name,
    slot,
    path,
    format,
    size,
    excluded,
    mode: mode && `${mode.independent ? 'independent-' : ''}${mode.kind}`,
    logs: logs.length,
  }));
  const { id, name, host, state, accelerator, memoryBytes, cpus, agent, folder, notes } = machine;
  return { id, name, host, state, accelerator, memoryBytes, cpus, agent, folder, disks, notes, lastPoint };
}

/** @param doing what failed, for errors that do not say themselves */
export function errorDto(error: unknown, doing: string): ErrorDto {
  const { code, message, exitStatus, details }: PrimaError = toPrimaError(error, doing);
  return { code, message, exitStatus, details };
}

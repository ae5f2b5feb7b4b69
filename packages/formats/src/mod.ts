/** Disk formats and machine configurations: telling them apart, parsing, writing, and VMDKs as devices. */
export * from './detect-format.ts';
export { envelopeFiles, type OvfFile } from './ovf/envelope.ts';
export * from './ovf/manifest.ts';
export * from './ovf/ova.ts';
export * from './ovf/ova-file.ts';
export * from './ovf/read-ovf.ts';
export { isMemberName } from './ovf/tar-reader.ts';
export { type OvfChoices, type OvfWritten, writeOvf } from './ovf/write-ovf.ts';
export * from './qcow2/write-qcow2.ts';
export * from './qcow2-header.ts';
export * from './qemu-arguments/command-text.ts';
export * from './qemu-arguments/read-arguments.ts';
export { type QemuChoices, writeQemuArguments } from './qemu-arguments/write-arguments.ts';
export { type NamedFiles, namedFiles } from './named-files.ts';
export * from './rdm/mapping-file.ts';
export * from './rdm/new-mapping.ts';
export * from './rdm/scsi-identity.ts';
export * from './redo/cowd-log.ts';
export type { LogKind, LogOptions, LogPlace, MergeOptions, OwnContent } from './redo/log-kind.ts';
export { isLogName } from './redo/dependants.ts';
export {
  isRedoRecord,
  parseRedoRecord,
  type RedoKind,
  type RedoLog,
  type RedoPurpose,
  type RedoRecord,
} from './redo/record.ts';
export { diskItself } from './redo/redo-folder.ts';
export * from './redo/redo-stack.ts';
export * from './vmdk/check-vmdk.ts';
export * from './vmdk/cowd-header.ts';
export * from './vmdk/cowd-tables.ts';
export * from './vmdk/create-types.ts';
export * from './vmdk/create-vmdk.ts';
export * from './vmdk/descriptor.ts';
export * from './vmdk/descriptor-write.ts';
export * from './vmdk/device-file.ts';
export * from './vmdk/disk-file.ts';
export { findParent, parentNames } from './vmdk/find-parent.ts';
export * from './vmdk/geometry.ts';
export { makeRoomForTables, type SectorChange, writeTablesForGrowth } from './vmdk/grow-hosted.ts';
export * from './vmdk/hosted-header.ts';
export { type LinkText, readLinkText } from './vmdk/link-text.ts';
export * from './vmdk/local-folder.ts';
export * from './vmdk/memory-folder.ts';
export * from './vmdk/new-extents.ts';
export * from './vmdk/stream-copy.ts';
export * from './vmdk/stream-file.ts';
export * from './vmdk/stream-reader.ts';
export * from './vmdk/stream-writer.ts';
export type { OpenMapping, RawDeviceMapping } from './vmdk/open-extent.ts';
export * from './vmdk/open-vmdk.ts';
export * from './vmx/settings.ts';
export * from './vmx/vmx.ts';
export { unitBytes } from './libvirt/domain-names.ts';
export * from './libvirt/read-domain.ts';
export * from './libvirt/write-domain.ts';
export * from './machine/configuration.ts';
export * from './machine/description.ts';
export { type NotCarried, type Translation } from './machine/translation.ts';
export * from './vmx/read-description.ts';
export { type VmxChoices, writeVmxDescription } from './vmx/write-description.ts';
export type { Partition, PartitionTable } from './partitions/partition-table.ts';
export { readPartitions } from './partitions/read-partitions.ts';
export type { FileSystemInfo } from './partitions/signatures.ts';
export { findFreeSpace, type FreeSpace, freeSpaceRules, type PartSpace } from './guest-space/free-space.ts';

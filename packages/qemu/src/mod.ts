/** Talking to QEMU: QMP, the guest agent, starting machines, disk formats through QEMU's block tools. */
export * from './guest-agent.ts';
export {
  type CallOptions,
  connectQmp,
  type QmpClient,
  type QmpEventData,
  type QmpListener,
  type QmpVersion,
} from './qmp.ts';
export * from './accelerator.ts';
export { type LaunchedMachine, type LaunchSpec, launchMachine } from './launch.ts';
export * from './machine-arguments.ts';
export { findMachineProcess, type MachineProcess } from './machine-process.ts';
export { checkImage, growImage, type ImageCheck } from './change-image.ts';
export { type GuardedOptions, type GuardedProgram, guardedFolderName, startGuarded } from './guarded.ts';
export { type ImageFile, imageChain } from './image-chain.ts';
export { ImageDevice, type OpenImageOptions, openWithQemu, WritableImageDevice } from './image-device.ts';
export { openImageInFile } from './image-in-file.ts';
export { type IscsiLun, iscsiNode, parseIscsiUrl } from './iscsi-url.ts';
export { findDevices, identitiesOf } from './lun-identity.ts';
export {
  type FoundLun,
  locateDevice,
  mappingModes,
  type MappingMode,
  mappingOpener,
  type MappingPlace,
  mappingPlace,
  openDevice,
  openDeviceForWriting,
  physicalMode,
  readMapping,
} from './mapped-device.ts';
export { nameBeside, type Qcow2LogOptions, qcow2Logs } from './qcow2-log.ts';
export {
  addBitmap,
  type ImageBitmap,
  type ImageInfo,
  imageInfo,
  mergeBitmaps,
  removeBitmap,
} from './image-info.ts';
export { createImage, type CreateImageOptions } from './create-image.ts';

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
export * from './unix-socket.ts';
export * from './accelerator.ts';
export { type LaunchedMachine, type LaunchSpec, launchMachine } from './launch.ts';
export * from './machine-arguments.ts';
export { findMachineProcess, type MachineProcess } from './machine-process.ts';

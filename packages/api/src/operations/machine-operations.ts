/** The operations on hosts and their machines. */
import { z } from 'zod';
import { DemoRequest, DemoResult } from '../demo.ts';
import {
  HostBackupRequest,
  HostDiffRequest,
  HostDiffResult,
  HostRestoreRequest,
  HostRestoreResult,
} from '../host-configuration.ts';
import { MachineConfigurationDto, MachineConfigurationRequest } from '../machine-configuration.ts';
import {
  HostAddRequest,
  HostDto,
  HostRequest,
  HostTestResult,
  MachineConsoleRequest,
  MachineCreateRequest,
  MachineDoctorRequest,
  MachineDoctorResult,
  MachineDto,
  MachineExportRequest,
  MachineExportResult,
  MachineImportRequest,
  MachineImportResult,
  MachineListRequest,
  MachinePowerRequest,
  MachineRequest,
  MachineScreenshot,
} from '../machines.ts';
import { operation } from '../operation.ts';
import { PointDto } from '../points.ts';
import { MachineResourcesDto, ResourcesSetRequest, ResourcesSetResult } from '../resources.ts';
import {
  RollbackBeginRequest,
  RollbackEndResult,
  RollbackListRequest,
  RollbackPointDto,
} from '../rollback.ts';
import { SelfBackupRequest, SelfBackupResult, SelfRestoreRequest, SelfRestoreResult } from '../self.ts';
import { Done, Nothing } from '../values.ts';

const machines = z.array(MachineDto);
const rollbacks = z.array(RollbackPointDto);

const ownState =
  'the state of a server is backed up on its own computer, by whoever may read its files; run it there';

export const machineOperations = {
  hostList: operation('Lists hosts', Nothing, z.array(HostDto), ['quick', 'viewer', 'reads']),
  hostAdd: operation('Registers a host', HostAddRequest, HostDto, ['quick', 'administrator']),
  hostTest: operation('Tests a host', HostRequest, HostTestResult, ['quick', 'operator', 'reads']),
  hostRemove: operation('Forgets a host', HostRequest, Done, ['quick', 'administrator']),
  hostBackup: operation("Backs up a host's configuration", HostBackupRequest, PointDto, [
    'job',
    'operator',
    'repository',
  ]),
  hostDiff: operation("Compares hosts' configurations", HostDiffRequest, HostDiffResult, [
    'quick',
    'implementer',
    'repository',
    'reads',
  ]),
  hostRestore: operation("Puts a host's configuration back", HostRestoreRequest, HostRestoreResult, [
    'job',
    'administrator',
    'repository',
  ]),
  machineList: operation('Lists machines', MachineListRequest, machines, ['quick', 'viewer', 'reads']),
  machineShow: operation('Shows a machine', MachineRequest, MachineDto, ['quick', 'viewer', 'reads']),
  machineCreate: operation('Makes a machine', MachineCreateRequest, MachineDto, ['job', 'implementer']),
  machineImport: operation('Makes a machine of a package', MachineImportRequest, MachineImportResult, [
    'job',
    'administrator',
  ]),
  machineExport: operation('Exports a machine to a folder', MachineExportRequest, MachineExportResult, [
    'job',
    'administrator',
  ]),
  machinePower: operation('Switches a machine', MachinePowerRequest, MachineDto, ['job', 'operator']),
  machineDoctor: operation(
    "Finds what stands in the way of a machine's backups",
    MachineDoctorRequest,
    MachineDoctorResult,
    ['job', 'operator'],
  ),
  machineDelete: operation('Deletes a machine and its disks', MachineRequest, Done, ['job', 'administrator']),
  machineScreenshot: {
    ...operation("Shows a machine's screen", MachineRequest, MachineScreenshot, [
      'quick',
      'operator',
      'reads',
    ]),
    media: 'image/png',
  },
  machineConsole: operation("Shows what a machine's console printed", MachineConsoleRequest, z.string(), [
    'quick',
    'operator',
    'reads',
  ]),
  machineConfiguration: operation(
    "Shows a machine's configuration",
    MachineConfigurationRequest,
    MachineConfigurationDto,
    ['quick', 'viewer', 'reads'],
  ),
  machineResources: operation('Shows what a machine may use', MachineRequest, MachineResourcesDto, [
    'quick',
    'viewer',
    'reads',
  ]),
  machineResourcesSet: operation('Sets what a machine may use', ResourcesSetRequest, ResourcesSetResult, [
    'quick',
    'implementer',
  ]),
  rollbackBegin: operation('Begins a rollback point', RollbackBeginRequest, RollbackPointDto, [
    'job',
    'operator',
  ]),
  rollbackList: operation('Lists rollback points', RollbackListRequest, rollbacks, [
    'quick',
    'viewer',
    'reads',
  ]),
  rollbackKeep: operation('Keeps what was written since', MachineRequest, RollbackEndResult, [
    'job',
    'operator',
  ]),
  rollbackUndo: operation('Undoes what was written since', MachineRequest, RollbackEndResult, [
    'job',
    'operator',
  ]),
  selfBackup: {
    ...operation("Backs up a server's own state", SelfBackupRequest, SelfBackupResult, [
      'job',
      'administrator',
    ]),
    local: ownState,
  },
  selfRestore: {
    ...operation("Restores a server's own state", SelfRestoreRequest, SelfRestoreResult, [
      'job',
      'administrator',
    ]),
    local: ownState,
  },
  demo: {
    ...operation('Runs the demonstration', DemoRequest, DemoResult, ['job', 'administrator']),
    local:
      'the demonstration makes machines and a repository of its own on this computer; run it without a server',
  },
};

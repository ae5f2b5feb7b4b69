/**
 * Every operation of Prima, as the command line and (later) HTTP see it: one method a command, plain
 * JSON in and out. The server package implements it in process; a client speaks it over HTTP later.
 */
import type { BackupApi } from './backup.ts';
import type { CopyApi } from './copy.ts';
import type { DatastoresApi } from './datastores.ts';
import type { DemoApi } from './demo.ts';
import type { DiskChangeApi } from './disk-change.ts';
import type { DiskFileApi } from './disk-file.ts';
import type { HostConfigurationApi } from './host-configuration.ts';
import type { KeysApi } from './keys.ts';
import type { MachineConfigurationApi } from './machine-configuration.ts';
import type { MachinesApi } from './machines.ts';
import type { MaintenanceApi } from './maintenance.ts';
import type { PointsApi } from './points.ts';
import type { RecoverApi } from './recover.ts';
import type { RdmApi } from './disk-rdm.ts';
import type { RedoApi } from './redo.ts';
import type { RepositoryApi } from './repository.ts';
import type { ResourcesApi } from './resources.ts';
import type { RestoreApi } from './restore.ts';
import type { RollbackApi } from './rollback.ts';
import type { SelfApi } from './self.ts';

export interface PrimaApi
  extends BackupApi,
    CopyApi,
    DatastoresApi,
    DemoApi,
    DiskChangeApi,
    DiskFileApi,
    HostConfigurationApi,
    KeysApi,
    MachineConfigurationApi,
    MachinesApi,
    MaintenanceApi,
    PointsApi,
    RdmApi,
    RecoverApi,
    RedoApi,
    RepositoryApi,
    ResourcesApi,
    RestoreApi,
    RollbackApi,
    SelfApi {
  close(): Promise<void>;
}

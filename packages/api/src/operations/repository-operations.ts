/** The operations on repositories, their points, keys and storage. */
import { z } from 'zod';
import { BackupRequest, BackupResult } from '../backup.ts';
import { CopyCreateRequest, CopyRequest, CopyResult } from '../copy.ts';
import {
  KeyAddRequest,
  KeyRemoveRequest,
  KeyRotateRootRequest,
  KeyRotationDto,
  KeySlotDto,
  NewKeySlotDto,
  RootKeyRotationDto,
} from '../keys.ts';
import { MachineDto, MachineRequest } from '../machines.ts';
import {
  CheckRequest,
  CheckResult,
  CollectRequest,
  CollectResult,
  RepairRequest,
  RepairResult,
} from '../maintenance.ts';
import { operation } from '../operation.ts';
import {
  DiffRequest,
  DiffResult,
  ForgetRequest,
  ForgetResult,
  LockRequest,
  PointDto,
  PointsRequest,
  ShowRequest,
} from '../points.ts';
import { RecoverRequest, RecoverResult, RecoverResumeRequest } from '../recover.ts';
import {
  InitRequest,
  NewRepositoryDto,
  RepositoryDto,
  StorageTestRequest,
  StorageTestResult,
  StorageUndeleteRequest,
  StorageUndeleteResult,
} from '../repository.ts';
import {
  ExportDto,
  ExportRequest,
  RestoreResult,
  RestoreToDeviceRequest,
  RestoreToFolderRequest,
  RestoreToHostRequest,
  RestoreToPackageRequest,
} from '../restore.ts';
import { Done, Nothing } from '../values.ts';

const points = z.array(PointDto);
const slots = z.array(KeySlotDto);

// Whatever answers with the words of a new key is quick: a job's result is kept, these words are not.
export const repositoryOperations = {
  init: operation('Makes a repository', InitRequest, NewRepositoryDto, [
    'quick',
    'administrator',
    'repository',
  ]),
  status: operation('Says what a repository holds', Nothing, RepositoryDto, [
    'quick',
    'viewer',
    'repository',
    'reads',
  ]),
  check: operation('Checks a repository', CheckRequest, CheckResult, ['job', 'operator', 'repository']),
  repair: operation('Ends what damage stops', RepairRequest, RepairResult, [
    'job',
    'administrator',
    'repository',
  ]),
  collect: operation('Frees what nothing needs', CollectRequest, CollectResult, [
    'job',
    'administrator',
    'repository',
  ]),
  keyList: operation('Lists key slots', Nothing, slots, ['quick', 'administrator', 'repository', 'reads']),
  keyAdd: operation('Adds a key slot', KeyAddRequest, NewKeySlotDto, [
    'quick',
    'administrator',
    'repository',
  ]),
  keyRemove: operation('Removes a key slot', KeyRemoveRequest, Done, [
    'quick',
    'administrator',
    'repository',
  ]),
  keyRotate: operation('Makes a new key set', Nothing, KeyRotationDto, [
    'quick',
    'administrator',
    'repository',
  ]),
  keyRotateRoot: operation('Makes a new root key', KeyRotateRootRequest, RootKeyRotationDto, [
    'quick',
    'administrator',
    'repository',
  ]),
  backup: operation('Backs up machines and disks', BackupRequest, BackupResult, [
    'job',
    'operator',
    'repository',
  ]),
  points: operation('Lists restore points', PointsRequest, points, [
    'quick',
    'viewer',
    'repository',
    'reads',
  ]),
  show: operation('Shows a restore point', ShowRequest, PointDto, ['quick', 'viewer', 'repository', 'reads']),
  diff: operation('Compares two restore points', DiffRequest, DiffResult, [
    'job',
    'viewer',
    'repository',
    'reads',
  ]),
  lock: operation('Locks restore points', LockRequest, points, ['job', 'administrator', 'repository']),
  forget: operation('Forgets restore points', ForgetRequest, ForgetResult, [
    'job',
    'administrator',
    'repository',
  ]),
  restoreToFolder: operation('Restores disks to files', RestoreToFolderRequest, RestoreResult, [
    'job',
    'administrator',
    'repository',
  ]),
  restoreToPackage: operation('Restores a machine to a package', RestoreToPackageRequest, RestoreResult, [
    'job',
    'administrator',
    'repository',
  ]),
  restoreToHost: operation('Restores a machine to a host', RestoreToHostRequest, RestoreResult, [
    'job',
    'restorer',
    'repository',
  ]),
  restoreToDevice: operation('Restores a disk over a device', RestoreToDeviceRequest, RestoreResult, [
    'job',
    'administrator',
    'repository',
  ]),
  export: {
    ...operation('Serves the disks of a point over NBD', ExportRequest, ExportDto, [
      'job',
      'restorer',
      'repository',
    ]),
    stays: true,
  },
  recover: operation('Runs a machine from the repository', RecoverRequest, RecoverResult, [
    'job',
    'restorer',
    'repository',
  ]),
  recoverResume: operation('Goes on with a recovery', RecoverResumeRequest, RecoverResult, [
    'job',
    'restorer',
    'repository',
  ]),
  recoverCancel: operation('Removes a machine that is being recovered', MachineRequest, MachineDto, [
    'job',
    'restorer',
  ]),
  copy: operation('Copies points to another repository', CopyRequest, CopyResult, [
    'job',
    'administrator',
    'repository',
  ]),
  copyCreate: operation('Makes the repository to copy to', CopyCreateRequest, NewRepositoryDto, [
    'quick',
    'administrator',
    'repository',
  ]),
  storageTest: operation('Holds a storage to what repositories need', StorageTestRequest, StorageTestResult, [
    'job',
    'administrator',
  ]),
  storageUndelete: operation(
    'Brings back deleted objects of a bucket',
    StorageUndeleteRequest,
    StorageUndeleteResult,
    ['job', 'administrator'],
  ),
};

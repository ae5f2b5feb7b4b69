/** The operations on disk files and datastores: they name files of the computer that they run on. */
import { z } from 'zod';
import {
  DatastoreAddRequest,
  DatastoreDto,
  DatastoreRemoveRequest,
  DatastoreReportDto,
  DatastoreRoomDto,
  DatastoreShowRequest,
} from '../datastores.ts';
import {
  DiskCheckResult,
  DiskCloneRequest,
  DiskConvertRequest,
  DiskCopyResult,
  DiskCreateRequest,
  DiskDeleteRequest,
  DiskDeleteResult,
  DiskExtendRequest,
  DiskExtendResult,
  DiskFillResult,
  DiskMadeResult,
  DiskRenameRequest,
  DiskRenameResult,
  DiskRepairRequest,
} from '../disk-change.ts';
import {
  DiskCompareRequest,
  DiskComparisonDto,
  DiskFileDto,
  DiskFileRequest,
  DiskMapDto,
  DiskMapRequest,
} from '../disk-file.ts';
import { RdmCreateRequest, RdmDto, RdmQueryRequest, RdmRemapRequest } from '../disk-rdm.ts';
import { operation } from '../operation.ts';
import { RedoAddRequest, RedoCommitRequest, RedoDiskDto, RedoResultDto, RedoTarget } from '../redo.ts';
import { Done, Nothing } from '../values.ts';

const quick = ['quick', 'administrator'] as const;
const job = ['job', 'administrator'] as const;
const reads = ['reads'] as const;

export const diskOperations = {
  diskInfo: operation('Looks at a disk file', DiskFileRequest, DiskFileDto, [...quick, ...reads]),
  diskMap: operation('Lists what a disk file holds', DiskMapRequest, DiskMapDto, [...job, ...reads]),
  diskCompare: operation('Compares disk files', DiskCompareRequest, DiskComparisonDto, [...job, ...reads]),
  diskCreate: operation('Makes a disk file', DiskCreateRequest, DiskMadeResult, job),
  diskConvert: operation('Converts a disk file', DiskConvertRequest, DiskCopyResult, job),
  diskClone: operation('Clones a disk file', DiskCloneRequest, DiskCopyResult, job),
  diskCheck: operation('Checks a disk file', DiskFileRequest, DiskCheckResult, [...job, ...reads]),
  diskRepair: operation('Repairs a disk file', DiskRepairRequest, DiskCheckResult, job),
  diskExtend: operation('Makes a disk larger', DiskExtendRequest, DiskExtendResult, job),
  diskInflate: operation('Gives a disk all of its room', DiskFileRequest, DiskFillResult, job),
  diskPunch: operation("Gives back a disk's zeros", DiskFileRequest, DiskFillResult, job),
  diskRename: operation('Renames a disk', DiskRenameRequest, DiskRenameResult, job),
  diskDelete: operation('Deletes a disk', DiskDeleteRequest, DiskDeleteResult, job),
  rdmCreate: operation('Maps a device', RdmCreateRequest, RdmDto, quick),
  rdmQuery: operation('Looks at a mapping', RdmQueryRequest, RdmDto, [...quick, ...reads]),
  rdmRemap: operation('Maps another device', RdmRemapRequest, RdmDto, quick),
  redoList: operation('Lists redo logs', RedoTarget, z.array(RedoDiskDto), ['quick', 'viewer', 'reads']),
  redoAdd: operation('Adds redo logs', RedoAddRequest, RedoResultDto, ['job', 'operator']),
  redoCommit: operation('Merges redo logs', RedoCommitRequest, RedoResultDto, ['job', 'operator']),
  redoDiscard: operation('Discards redo logs', RedoTarget, RedoResultDto, ['job', 'operator']),
  datastoreList: operation('Lists datastores', Nothing, z.array(DatastoreRoomDto), [
    'quick',
    'viewer',
    'reads',
  ]),
  datastoreAdd: operation('Registers a datastore', DatastoreAddRequest, DatastoreDto, quick),
  datastoreRemove: operation('Forgets a datastore', DatastoreRemoveRequest, Done, quick),
  datastoreShow: operation('Reports what lies in a datastore', DatastoreShowRequest, DatastoreReportDto, [
    'job',
    'viewer',
    'reads',
  ]),
};

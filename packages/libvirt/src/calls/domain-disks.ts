/** Calls about a machine's disks and devices, its file systems, block jobs and backups. */
import { array, defaulting, flag, int32, opaque, safeUint64, struct, uint32, uint64 } from '../xdr.ts';
import { remote } from './procedure.ts';
import { domain, flags, optionalText, paramFlags, text, typedParams } from './types.ts';

const copyParamLimit = 16;
const tuneParamLimit = 32;
const mountpoints = defaulting(array(text, 256), []);
const noLimit = defaulting(safeUint64, 0);
const peekLimitBytes = 4 * 1024 * 1024;

export const domainDiskCalls = {
  domainAttachDeviceFlags: remote(160, { dom: domain, xml: text, flags }, {}),
  domainDetachDeviceFlags: remote(161, { dom: domain, xml: text, flags }, {}),
  domainDetachDeviceAlias: remote(392, { dom: domain, alias: text, flags }, {}),
  domainUpdateDeviceFlags: remote(174, { dom: domain, xml: text, flags }, {}),

  /** `disk` is a target (`vda`) or a path. */
  domainGetBlockInfo: remote(
    194,
    { dom: domain, disk: text, flags },
    { allocation: safeUint64, capacity: safeUint64, physical: safeUint64 },
  ),
  domainBlockStatsFlags: remote(
    243,
    { dom: domain, disk: text, paramCount: defaulting(int32, 16), flags: paramFlags },
    { params: typedParams(16), paramCount: int32 },
  ),
  domainBlockPeek: remote(
    103,
    { dom: domain, disk: text, offset: safeUint64, size: uint32, flags },
    { bytes: opaque(peekLimitBytes) },
  ),
  /** `size` is in KiB unless `VIR_DOMAIN_BLOCK_RESIZE_BYTES` is among the flags. */
  domainBlockResize: remote(251, { dom: domain, disk: text, size: safeUint64, flags }, {}),
  domainGetDiskErrors: remote(
    263,
    { dom: domain, maxErrors: defaulting(uint32, 256), flags },
    { errors: array(struct({ disk: text, error: int32 }), 256), count: int32 },
  ),
  domainSetBlockThreshold: remote(386, { dom: domain, device: text, threshold: safeUint64, flags }, {}),
  domainGetBlockIoTune: remote(
    253,
    { dom: domain, disk: optionalText, paramCount: defaulting(int32, tuneParamLimit), flags: paramFlags },
    { params: typedParams(tuneParamLimit), paramCount: int32 },
  ),
  domainSetBlockIoTune: remote(
    252,
    { dom: domain, disk: text, params: typedParams(tuneParamLimit), flags },
    {},
  ),

  /** Where nothing runs `found` is false and the rest 0. Bandwidth is in MiB/s unless a flag says bytes. */
  domainGetBlockJobInfo: remote(
    238,
    { dom: domain, disk: text, flags },
    { found: flag, type: int32, bandwidth: uint64, cur: uint64, end: uint64 },
  ),
  domainBlockJobAbort: remote(237, { dom: domain, disk: text, flags }, {}),
  domainBlockJobSetSpeed: remote(239, { dom: domain, disk: text, bandwidth: safeUint64, flags }, {}),
  domainBlockPull: remote(240, { dom: domain, disk: text, bandwidth: noLimit, flags }, {}),
  domainBlockRebase: remote(
    266,
    { dom: domain, disk: text, base: optionalText, bandwidth: noLimit, flags },
    {},
  ),
  domainBlockCommit: remote(
    290,
    { dom: domain, disk: text, base: optionalText, top: optionalText, bandwidth: noLimit, flags },
    {},
  ),
  domainBlockCopy: remote(
    345,
    { dom: domain, disk: text, destXml: text, params: defaulting(typedParams(copyParamLimit), []), flags },
    {},
  ),

  /** Without mount points, all. */
  domainFsFreeze: remote(335, { dom: domain, mountpoints, flags }, { filesystems: int32 }),
  domainFsThaw: remote(336, { dom: domain, mountpoints, flags }, { filesystems: int32 }),
  domainFsTrim: remote(294, { dom: domain, mountpoint: optionalText, minimum: noLimit, flags }, {}),
  domainGetFsInfo: remote(
    349,
    { dom: domain, flags },
    {
      info: array(struct({ mountpoint: text, name: text, fstype: text, disks: array(text, 256) }), 256),
      count: uint32,
    },
  ),

  domainBackupBegin: remote(421, { dom: domain, backupXml: text, checkpointXml: optionalText, flags }, {}),
  domainBackupGetXmlDesc: remote(422, { dom: domain, flags }, { xml: text }),
};

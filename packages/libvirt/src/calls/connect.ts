/** Calls about the connection itself, the host and what it can do. */
import { array, defaulting, fixedChars, flag, int32, safeUint64, struct, uint32, uint64 } from '../xdr.ts';
import { remote } from './procedure.ts';
import { domain, flags, listLimit, optionalText, text, typedParams } from './types.ts';

const statsLimit = 262_144;

export const connectCalls = {
  connectOpen: remote(1, { name: optionalText, flags }, {}),
  connectClose: remote(2, {}, {}),
  connectGetType: remote(3, {}, { type: text }),
  /** The hypervisor's version: 1 000 000 × major + 1000 × minor + release. */
  connectGetVersion: remote(4, {}, { version: safeUint64 }),
  /** libvirt's version, likewise. */
  connectGetLibVersion: remote(157, {}, { version: safeUint64 }),
  connectGetHostname: remote(59, {}, { hostname: text }),
  connectGetUri: remote(110, {}, { uri: text }),
  connectGetCapabilities: remote(7, {}, { capabilities: text }),
  connectGetDomainCapabilities: remote(
    342,
    { emulatorbin: optionalText, arch: optionalText, machine: optionalText, virttype: optionalText, flags },
    { capabilities: text },
  ),
  connectGetStoragePoolCapabilities: remote(403, { flags }, { capabilities: text }),
  connectGetSysinfo: remote(203, { flags }, { sysinfo: text }),
  /** `feature` is one of the numbers of `Feature`. */
  connectSupportsFeature: remote(60, { feature: int32 }, { supported: flag }),
  connectIsSecure: remote(149, {}, { secure: flag }),
  connectDomainXmlFromNative: remote(
    135,
    { nativeFormat: text, nativeConfig: text, flags },
    { domainXml: text },
  ),
  connectDomainXmlToNative: remote(
    136,
    { nativeFormat: text, domainXml: text, flags },
    { nativeConfig: text },
  ),
  /** Without `doms`, all machines. `stats` 0 means all that there are. */
  connectGetAllDomainStats: remote(
    344,
    { doms: defaulting(array(domain, listLimit), []), stats: defaulting(uint32, 0), flags },
    { records: array(struct({ dom: domain, params: typedParams(statsLimit) }), listLimit) },
  ),
  nodeGetInfo: remote(
    6,
    {},
    {
      model: fixedChars(32),
      memoryKib: safeUint64,
      cpus: int32,
      mhz: int32,
      nodes: int32,
      sockets: int32,
      cores: int32,
      threads: int32,
    },
  ),
  nodeGetFreeMemory: remote(102, {}, { freeBytes: uint64 }),
};

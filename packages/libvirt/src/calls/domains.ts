/** Calls about machines as a whole: finding, defining, starting, ending, saving, and what is known of them. */
import { array, defaulting, flag, int32, safeInt64, safeUint64, struct, uint32, uint64 } from '../xdr.ts';
import { remote, remoteStream } from './procedure.ts';
import {
  domain,
  flags,
  listLimit,
  needResults,
  optionalText,
  paramFlags,
  text,
  typedParams,
  uuid,
} from './types.ts';

const paramLimit = 16;
const jobParamLimit = 64;
const saveParamLimit = 64;
/** How many parameters there may be in the answer. */
const paramCount = defaulting(int32, paramLimit);

export const domainCalls = {
  connectListAllDomains: remote(
    273,
    { needResults, flags },
    { domains: array(domain, listLimit), count: uint32 },
  ),
  domainLookupById: remote(22, { id: int32 }, { dom: domain }),
  domainLookupByName: remote(23, { name: text }, { dom: domain }),
  domainLookupByUuid: remote(24, { uuid }, { dom: domain }),
  domainGetXmlDesc: remote(14, { dom: domain, flags }, { xml: text }),
  domainGetState: remote(212, { dom: domain, flags }, { state: int32, reason: int32 }),
  domainGetInfo: remote(
    16,
    { dom: domain },
    { state: int32, maxMemoryKib: safeUint64, memoryKib: safeUint64, vcpus: int32, cpuTimeNs: uint64 },
  ),
  domainIsActive: remote(150, { dom: domain }, { active: flag }),
  domainIsPersistent: remote(151, { dom: domain }, { persistent: flag }),
  domainIsUpdated: remote(202, { dom: domain }, { updated: flag }),
  domainGetControlInfo: remote(
    229,
    { dom: domain, flags },
    { state: uint32, details: uint32, stateTimeMs: safeUint64 },
  ),
  domainGetMessages: remote(426, { dom: domain, flags }, { messages: array(text, 2048) }),

  domainDefineXmlFlags: remote(350, { xml: text, flags }, { dom: domain }),
  domainUndefineFlags: remote(231, { dom: domain, flags }, {}),
  domainRename: remote(358, { dom: domain, newName: optionalText, flags }, { result: int32 }),
  domainCreateXml: remote(10, { xml: text, flags }, { dom: domain }),
  domainCreateWithFlags: remote(196, { dom: domain, flags }, { dom: domain }),
  domainShutdownFlags: remote(258, { dom: domain, flags }, {}),
  domainDestroyFlags: remote(234, { dom: domain, flags }, {}),
  domainReboot: remote(27, { dom: domain, flags }, {}),
  domainReset: remote(245, { dom: domain, flags }, {}),
  domainSuspend: remote(34, { dom: domain }, {}),
  domainResume: remote(28, { dom: domain }, {}),
  domainPmWakeup: remote(267, { dom: domain, flags }, {}),
  domainGetAutostart: remote(15, { dom: domain }, { autostart: flag }),
  domainSetAutostart: remote(29, { dom: domain, autostart: flag }, {}),

  domainSave: remote(55, { dom: domain, to: text }, {}),
  domainSaveFlags: remote(232, { dom: domain, to: text, dxml: optionalText, flags }, {}),
  domainSaveParams: remote(440, { dom: domain, params: typedParams(saveParamLimit), flags }, {}),
  domainRestoreFlags: remote(233, { from: text, dxml: optionalText, flags }, {}),
  domainRestoreParams: remote(441, { params: typedParams(saveParamLimit), flags }, {}),
  domainSaveImageGetXmlDesc: remote(235, { file: text, flags }, { xml: text }),
  domainSaveImageDefineXml: remote(236, { file: text, dxml: text, flags }, {}),
  domainManagedSave: remote(182, { dom: domain, flags }, {}),
  domainHasManagedSaveImage: remote(183, { dom: domain, flags }, { result: flag }),
  domainManagedSaveRemove: remote(184, { dom: domain, flags }, {}),
  domainManagedSaveGetXmlDesc: remote(388, { dom: domain, flags }, { xml: text }),
  domainManagedSaveDefineXml: remote(389, { dom: domain, dxml: optionalText, flags }, {}),

  domainScreenshot: remoteStream(
    211,
    'source',
    { dom: domain, screen: defaulting(uint32, 0), flags },
    { mime: optionalText },
  ),
  domainOpenConsole: remoteStream(201, 'both', { dom: domain, device: optionalText, flags }, {}),
  domainOpenChannel: remoteStream(296, 'both', { dom: domain, name: optionalText, flags }, {}),

  domainGetJobInfo: remote(
    163,
    { dom: domain },
    {
      type: int32,
      timeElapsedMs: uint64,
      timeRemainingMs: uint64,
      dataTotal: uint64,
      dataProcessed: uint64,
      dataRemaining: uint64,
      memTotal: uint64,
      memProcessed: uint64,
      memRemaining: uint64,
      fileTotal: uint64,
      fileProcessed: uint64,
      fileRemaining: uint64,
    },
  ),
  domainGetJobStats: remote(298, { dom: domain, flags }, { type: int32, params: typedParams(jobParamLimit) }),
  domainAbortJob: remote(164, { dom: domain }, {}),
  domainAbortJobFlags: remote(442, { dom: domain, flags }, {}),

  domainGetMetadata: remote(265, { dom: domain, type: int32, uri: optionalText, flags }, { metadata: text }),
  domainSetMetadata: remote(
    264,
    { dom: domain, type: int32, metadata: optionalText, key: optionalText, uri: optionalText, flags },
    {},
  ),
  domainGetTime: remote(337, { dom: domain, flags }, { seconds: safeInt64, nanoseconds: uint32 }),
  domainSetTime: remote(338, { dom: domain, seconds: safeInt64, nanoseconds: uint32, flags }, {}),
  domainGetHostname: remote(277, { dom: domain, flags }, { hostname: text }),
  domainGetGuestInfo: remote(
    418,
    { dom: domain, types: defaulting(uint32, 0), flags },
    { params: typedParams(2048) },
  ),
  domainAgentSetResponseTimeout: remote(
    420,
    { dom: domain, timeoutSeconds: int32, flags },
    { result: int32 },
  ),
  domainInterfaceAddresses: remote(
    353,
    { dom: domain, source: uint32, flags },
    {
      interfaces: array(
        struct({
          name: text,
          hwaddr: optionalText,
          addresses: array(struct({ type: int32, address: text, prefix: uint32 }), 2048),
        }),
        2048,
      ),
    },
  ),

  domainSetMemoryFlags: remote(204, { dom: domain, memoryKib: safeUint64, flags }, {}),
  domainGetMaxMemory: remote(17, { dom: domain }, { memoryKib: safeUint64 }),
  domainMemoryStats: remote(
    159,
    { dom: domain, maxStats: defaulting(uint32, 1024), flags },
    { stats: array(struct({ tag: int32, value: uint64 }), 1024) },
  ),
  domainSetVcpusFlags: remote(199, { dom: domain, vcpus: uint32, flags }, {}),
  domainGetVcpusFlags: remote(200, { dom: domain, flags }, { vcpus: int32 }),
  domainGetSchedulerType: remote(56, { dom: domain }, { type: text, paramCount: int32 }),
  domainGetSchedulerParametersFlags: remote(
    223,
    { dom: domain, paramCount, flags: paramFlags },
    { params: typedParams(paramLimit) },
  ),
  domainSetSchedulerParametersFlags: remote(219, { dom: domain, params: typedParams(paramLimit), flags }, {}),
  domainGetBlkioParameters: remote(
    206,
    { dom: domain, paramCount, flags: paramFlags },
    { params: typedParams(paramLimit), paramCount: int32 },
  ),
  domainSetBlkioParameters: remote(205, { dom: domain, params: typedParams(paramLimit), flags }, {}),
  domainGetMemoryParameters: remote(
    198,
    { dom: domain, paramCount, flags: paramFlags },
    { params: typedParams(paramLimit), paramCount: int32 },
  ),
  domainSetMemoryParameters: remote(197, { dom: domain, params: typedParams(paramLimit), flags }, {}),
  domainSetLifecycleAction: remote(390, { dom: domain, type: uint32, action: uint32, flags }, {}),
};

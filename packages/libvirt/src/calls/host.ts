/** Calls about what else a host has: networks, network filters, interfaces, devices, secrets. */
import { array, flag, int32, opaque, safeInt64, struct, uint32 } from '../xdr.ts';
import { remote } from './procedure.ts';
import {
  flags,
  listLimit,
  needResults,
  network,
  networkInterface,
  nodeDevice,
  nwfilter,
  optionalText,
  secret,
  text,
  uuid,
} from './types.ts';

const secretLimitBytes = 65_536;

export const hostCalls = {
  connectListAllNetworks: remote(
    283,
    { needResults, flags },
    { networks: array(network, listLimit), count: uint32 },
  ),
  networkLookupByName: remote(46, { name: text }, { network }),
  networkLookupByUuid: remote(47, { uuid }, { network }),
  networkGetXmlDesc: remote(43, { network, flags }, { xml: text }),
  networkGetBridgeName: remote(45, { network }, { name: text }),
  networkIsActive: remote(152, { network }, { active: flag }),
  networkIsPersistent: remote(153, { network }, { persistent: flag }),
  networkDefineXml: remote(41, { xml: text }, { network }),
  networkDefineXmlFlags: remote(432, { xml: text, flags }, { network }),
  networkCreateXml: remote(40, { xml: text }, { network }),
  networkCreate: remote(39, { network }, {}),
  networkDestroy: remote(42, { network }, {}),
  networkUndefine: remote(49, { network }, {}),
  networkGetAutostart: remote(44, { network }, { autostart: flag }),
  networkSetAutostart: remote(48, { network, autostart: flag }, {}),
  networkGetDhcpLeases: remote(
    341,
    { network, mac: optionalText, needResults, flags },
    {
      leases: array(
        struct({
          interface: text,
          expirySeconds: safeInt64,
          type: int32,
          mac: optionalText,
          iaid: optionalText,
          address: text,
          prefix: uint32,
          hostname: optionalText,
          clientId: optionalText,
        }),
        65_536,
      ),
      count: uint32,
    },
  ),

  connectListAllNwfilters: remote(
    286,
    { needResults, flags },
    { filters: array(nwfilter, listLimit), count: uint32 },
  ),
  nwfilterLookupByName: remote(175, { name: text }, { nwfilter }),
  nwfilterLookupByUuid: remote(176, { uuid }, { nwfilter }),
  nwfilterGetXmlDesc: remote(177, { nwfilter, flags }, { xml: text }),
  nwfilterDefineXml: remote(180, { xml: text }, { nwfilter }),
  nwfilterUndefine: remote(181, { nwfilter }, {}),

  connectListAllInterfaces: remote(
    284,
    { needResults, flags },
    { interfaces: array(networkInterface, listLimit), count: uint32 },
  ),
  interfaceLookupByName: remote(128, { name: text }, { interface: networkInterface }),
  interfaceGetXmlDesc: remote(130, { interface: networkInterface, flags }, { xml: text }),

  connectListAllNodeDevices: remote(
    285,
    { needResults, flags },
    { devices: array(nodeDevice, 65_536), count: uint32 },
  ),
  nodeDeviceLookupByName: remote(113, { name: text }, { device: nodeDevice }),
  nodeDeviceGetXmlDesc: remote(114, { name: text, flags }, { xml: text }),
  nodeDeviceGetParent: remote(115, { name: text }, { parent: optionalText }),

  connectListAllSecrets: remote(
    287,
    { needResults, flags },
    { secrets: array(secret, listLimit), count: uint32 },
  ),
  secretLookupByUuid: remote(141, { uuid }, { secret }),
  secretLookupByUsage: remote(147, { usageType: int32, usageId: text }, { secret }),
  secretGetXmlDesc: remote(143, { secret, flags }, { xml: text }),
  secretDefineXml: remote(142, { xml: text, flags }, { secret }),
  secretSetValue: remote(144, { secret, value: opaque(secretLimitBytes), flags }, {}),
  secretGetValue: remote(145, { secret, flags }, { value: opaque(secretLimitBytes) }),
  secretUndefine: remote(146, { secret }, {}),
};

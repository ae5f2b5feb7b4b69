/** Calls about storage pools and their volumes. */
import { array, defaulting, flag, int32, safeUint64, uint32 } from '../xdr.ts';
import { remote, remoteStream } from './procedure.ts';
import {
  flags,
  listLimit,
  needResults,
  optionalText,
  storagePool,
  storageVolume,
  text,
  uuid,
} from './types.ts';

const range = { offset: defaulting(safeUint64, 0), length: defaulting(safeUint64, 0) };

export const storageCalls = {
  connectListAllStoragePools: remote(
    281,
    { needResults, flags },
    { pools: array(storagePool, listLimit), count: uint32 },
  ),
  connectFindStoragePoolSources: remote(75, { type: text, sourceXml: optionalText, flags }, { xml: text }),
  storagePoolLookupByName: remote(84, { name: text }, { pool: storagePool }),
  storagePoolLookupByUuid: remote(85, { uuid }, { pool: storagePool }),
  storagePoolLookupByVolume: remote(86, { vol: storageVolume }, { pool: storagePool }),
  storagePoolLookupByTargetPath: remote(391, { path: text }, { pool: storagePool }),
  storagePoolGetXmlDesc: remote(88, { pool: storagePool, flags }, { xml: text }),
  storagePoolGetInfo: remote(
    87,
    { pool: storagePool },
    { state: int32, capacity: safeUint64, allocation: safeUint64, available: safeUint64 },
  ),
  storagePoolIsActive: remote(154, { pool: storagePool }, { active: flag }),
  storagePoolIsPersistent: remote(155, { pool: storagePool }, { persistent: flag }),
  storagePoolDefineXml: remote(77, { xml: text, flags }, { pool: storagePool }),
  storagePoolCreateXml: remote(76, { xml: text, flags }, { pool: storagePool }),
  storagePoolCreate: remote(78, { pool: storagePool, flags }, {}),
  storagePoolBuild: remote(79, { pool: storagePool, flags }, {}),
  storagePoolDestroy: remote(80, { pool: storagePool }, {}),
  storagePoolDelete: remote(81, { pool: storagePool, flags }, {}),
  storagePoolUndefine: remote(82, { pool: storagePool }, {}),
  storagePoolRefresh: remote(83, { pool: storagePool, flags }, {}),
  storagePoolGetAutostart: remote(89, { pool: storagePool }, { autostart: flag }),
  storagePoolSetAutostart: remote(90, { pool: storagePool, autostart: flag }, {}),
  storagePoolListAllVolumes: remote(
    282,
    { pool: storagePool, needResults, flags },
    { volumes: array(storageVolume, listLimit), count: uint32 },
  ),

  storageVolLookupByName: remote(95, { pool: storagePool, name: text }, { vol: storageVolume }),
  storageVolLookupByKey: remote(96, { key: text }, { vol: storageVolume }),
  storageVolLookupByPath: remote(97, { path: text }, { vol: storageVolume }),
  storageVolCreateXml: remote(93, { pool: storagePool, xml: text, flags }, { vol: storageVolume }),
  storageVolCreateXmlFrom: remote(
    125,
    { pool: storagePool, xml: text, source: storageVolume, flags },
    { vol: storageVolume },
  ),
  storageVolDelete: remote(94, { vol: storageVolume, flags }, {}),
  storageVolGetXmlDesc: remote(99, { vol: storageVolume, flags }, { xml: text }),
  storageVolGetInfo: remote(
    98,
    { vol: storageVolume },
    { type: int32, capacity: safeUint64, allocation: safeUint64 },
  ),
  storageVolGetInfoFlags: remote(
    378,
    { vol: storageVolume, flags },
    { type: int32, capacity: safeUint64, allocation: safeUint64 },
  ),
  storageVolGetPath: remote(100, { vol: storageVolume }, { path: text }),
  storageVolResize: remote(260, { vol: storageVolume, capacity: safeUint64, flags }, {}),
  storageVolWipe: remote(165, { vol: storageVolume, flags }, {}),
  /** `length` 0 means up to the end. With the flag for sparse streams, holes arrive as holes. */
  storageVolDownload: remoteStream(209, 'source', { vol: storageVolume, ...range, flags }, {}),
  storageVolUpload: remoteStream(208, 'sink', { vol: storageVolume, ...range, flags }, {}),
};

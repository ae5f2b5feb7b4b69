/** Calls about snapshots and checkpoints of machines. */
import { array, flag, int32 } from '../xdr.ts';
import { remote } from './procedure.ts';
import { checkpoint, domain, flags, listLimit, needResults, snapshot, text } from './types.ts';

const snapshots = { snapshots: array(snapshot, listLimit), count: int32 };
const checkpoints = { checkpoints: array(checkpoint, listLimit), count: int32 };

export const snapshotCalls = {
  domainSnapshotCreateXml: remote(185, { dom: domain, xml: text, flags }, { snapshot }),
  domainSnapshotGetXmlDesc: remote(186, { snapshot, flags }, { xml: text }),
  domainListAllSnapshots: remote(274, { dom: domain, needResults, flags }, snapshots),
  domainSnapshotListAllChildren: remote(275, { snapshot, needResults, flags }, snapshots),
  domainSnapshotLookupByName: remote(189, { dom: domain, name: text, flags }, { snapshot }),
  domainHasCurrentSnapshot: remote(190, { dom: domain, flags }, { result: flag }),
  domainSnapshotCurrent: remote(191, { dom: domain, flags }, { snapshot }),
  domainSnapshotGetParent: remote(244, { snapshot, flags }, { snapshot }),
  domainSnapshotIsCurrent: remote(271, { snapshot, flags }, { current: flag }),
  domainSnapshotHasMetadata: remote(272, { snapshot, flags }, { metadata: flag }),
  domainRevertToSnapshot: remote(192, { snapshot, flags }, {}),
  domainSnapshotDelete: remote(193, { snapshot, flags }, {}),

  domainCheckpointCreateXml: remote(411, { dom: domain, xml: text, flags }, { checkpoint }),
  domainCheckpointGetXmlDesc: remote(412, { checkpoint, flags }, { xml: text }),
  domainListAllCheckpoints: remote(413, { dom: domain, needResults, flags }, checkpoints),
  domainCheckpointListAllChildren: remote(414, { checkpoint, needResults, flags }, checkpoints),
  domainCheckpointLookupByName: remote(415, { dom: domain, name: text, flags }, { checkpoint }),
  domainCheckpointGetParent: remote(416, { checkpoint, flags }, { parent: checkpoint }),
  domainCheckpointDelete: remote(417, { checkpoint, flags }, {}),
};

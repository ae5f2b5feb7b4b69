/** LUNs by their iSCSI URLs. */
import { UserError } from '@prima/base';

export interface IscsiLun {
  host: string;
  port: number;
  /** `iqn.2026-01.example:disk1` */
  target: string;
  lun: number;
}

const standardPort = 3260;

/** Undefined for what is no `iscsi:` URL. Raises `usage` for a wrong one, and for one with a name and password. */
export function parseIscsiUrl(text: string): IscsiLun | undefined {
  if (!/^iscsi:/i.test(text)) return undefined;
  const wanted = 'write iscsi://HOST[:PORT]/TARGET/LUN';
  if (/^iscsi:\/\/[^/]*@/i.test(text)) {
    throw new UserError(
      'usage',
      'an iSCSI URL with a name or password would be seen by everybody in the list of processes; let the target know this ' +
        "computer by its address or initiator's name, and leave them out",
    );
  }
  const match = /^iscsi:\/\/(\[[0-9a-f:]+\]|[^/:[\]]+)(?::(\d{1,5}))?\/([^/?#\s]+)\/(\d{1,5})$/i.exec(text);
  if (!match) throw new UserError('usage', `"${text}" names no LUN; ${wanted}`);
  const [, host = '', port, target = '', lun] = match;
  return { host, port: port === undefined ? standardPort : Number(port), target, lun: Number(lun) };
}

export function iscsiUrl({ host, port, target, lun }: IscsiLun): string {
  return `iscsi://${host}:${port}/${target}/${lun}`;
}

/** The LUN among QEMU's block nodes: the options of its driver. */
export function iscsiNode({ host, port, target, lun }: IscsiLun): object {
  return { driver: 'iscsi', transport: 'tcp', portal: `${host}:${port}`, target, lun };
}

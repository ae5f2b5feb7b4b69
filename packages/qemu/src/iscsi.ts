/**
 * iSCSI LUNs without an initiator in the kernel: read through QEMU's own (Debian: qemu-block-extra), asked who they are through
 * libiscsi's iscsi-inq (libiscsi-bin).
 */
import { runProgram, UserError } from '@prima/base';
import { serialIdentity } from '@prima/formats';
import { plainEnvironment } from './environment.ts';
import { type ImageDevice, openServed, type OpenImageOptions } from './image-device.ts';

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

/** Opens it read-only. Raises `remote`, `missing-program`, `timeout`, `unsupported` without QEMU's driver. */
export async function openIscsi(
  lun: IscsiLun,
  options: Pick<OpenImageOptions, 'signal' | 'runtimeFolder' | 'timeoutMs'> = {},
): Promise<ImageDevice> {
  const { host, port, target } = lun;
  const file = { driver: 'iscsi', transport: 'tcp', portal: `${host}:${port}`, target, lun: String(lun.lun) };
  return openServed(`json:${JSON.stringify({ driver: 'raw', file })}`, [], {
    ...options,
    format: 'raw',
    doing: `opening ${iscsiUrl(lun)}`,
  });
}

const inquiryTimeoutMs = 30_000;

/** Who the LUN is: see `identitiesOfPage83`; of its designators those that are text. */
export async function inquireIscsi(lun: IscsiLun, signal?: AbortSignal): Promise<string[]> {
  const ask = async (page: number) => {
    const args = ['-e', '1', '-c', String(page), iscsiUrl(lun)];
    const options = { timeoutMs: inquiryTimeoutMs, signal, env: plainEnvironment() };
    return (await runProgram('iscsi-inq', args, options)).stdout;
  };
  return [...identitiesOfInquiry(await ask(0x83)), ...serialsOfInquiry(await ask(0x80))];
}

/** Pure: what iscsi-inq prints of page 0x83. It cuts binary designators at their first zero, so these say nothing. */
export function identitiesOfInquiry(text: string): string[] {
  const found: string[] = [];
  for (const block of text.split(/^DEVICE DESIGNATOR #\d+$/m).slice(1)) {
    const isLun = /^Association:\(0\)/m.test(block);
    const isText = /^Code Set:\([23]\)/m.test(block);
    const [, type = ''] = /^Designator Type:\((\d+)\)/m.exec(block) ?? [];
    const [, value = ''] = /^Designator:\[(.*)\]$/m.exec(block) ?? [];
    if (isLun && isText && type === '1' && value.trim() !== '') found.push(`t10.${value.trim()}`);
  }
  return found;
}

/** Pure: what iscsi-inq prints of page 0x80. */
export function serialsOfInquiry(text: string): string[] {
  const [, serial = ''] = /^Unit Serial Number:\[(.*)\]$/m.exec(text) ?? [];
  return serialIdentity(serial);
}

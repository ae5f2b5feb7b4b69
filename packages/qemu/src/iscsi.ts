/**
 * iSCSI LUNs without an initiator in the kernel: read through QEMU's own (Debian: qemu-block-extra), asked who they are through
 * libiscsi's iscsi-inq (libiscsi-bin).
 */
import { runProgram } from '@prima/base';
import { serialIdentity } from '@prima/formats';
import { plainEnvironment } from './environment.ts';
import {
  type ImageDevice,
  openServed,
  type OpenImageOptions,
  type WritableImageDevice,
} from './image-device.ts';
import { iscsiNode, type IscsiLun, iscsiUrl } from './iscsi-url.ts';

type OpenLunOptions = Pick<OpenImageOptions, 'signal' | 'runtimeFolder' | 'timeoutMs'>;

/** Opens it read-only. Raises `remote`, `missing-program`, `timeout`, `unsupported` without QEMU's driver. */
export async function openIscsi(lun: IscsiLun, options: OpenLunOptions = {}): Promise<ImageDevice> {
  return openServed(servedName(lun), [], { ...options, format: 'raw', doing: `opening ${iscsiUrl(lun)}` });
}

/** Raises as `openIscsi` does. That nobody else writes to it is up to the target. */
export async function openIscsiForWriting(
  lun: IscsiLun,
  options: OpenLunOptions = {},
): Promise<WritableImageDevice> {
  const doing = `opening ${iscsiUrl(lun)} to write to it`;
  return openServed(servedName(lun), [], { ...options, format: 'raw', writable: true, doing });
}

const servedName = (lun: IscsiLun): string =>
  `json:${JSON.stringify({ driver: 'raw', file: iscsiNode(lun) })}`;

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

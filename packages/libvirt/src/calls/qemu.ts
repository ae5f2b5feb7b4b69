/** Calls that only QEMU's driver has: its monitor and the guest agent, past libvirt. */
import { int32 } from '../xdr.ts';
import { qemu } from './procedure.ts';
import { domain, flags, optionalText, text } from './types.ts';

export const qemuCalls = {
  /** `command` and the answer are QMP's JSON. Marks the machine as tainted in libvirt's log. */
  domainMonitorCommand: qemu(1, { dom: domain, command: text, flags }, { result: text }),
  /** `timeoutSeconds`: -2 waits for ever, -1 as long as libvirt thinks right, 0 not at all. */
  domainAgentCommand: qemu(
    3,
    { dom: domain, command: text, timeoutSeconds: int32, flags },
    { result: optionalText },
  ),
};

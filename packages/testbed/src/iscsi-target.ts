/** A real iSCSI target on a private port of loopback: tgtd (Debian: tgt), with LUNs that are files. */
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { runProgram, toPrimaError } from '@prima/base';
import { freePorts } from './free-ports.ts';
import { type Cleanup, temporaryFolder } from './test-files.ts';
import { waitUntil } from './wait.ts';

export interface IscsiTarget {
  /** `iscsi://127.0.0.1:PORT/TARGET/LUN` */
  url(lun: number): string;
  /** Serves the file as the LUN of this number, 1 and on, that calls itself `id`. */
  add(lun: number, file: string, id: string): Promise<void>;
  remove(lun: number): Promise<void>;
}

const targetName = 'iqn.2026-01.test.prima:luns';

export async function startIscsiTarget(test: Cleanup): Promise<IscsiTarget> {
  const folder = await temporaryFolder(test);
  const [port = 0] = await freePorts(1);
  const control = String(1000 + (port % 30_000)); // tgtd's own number, a socket's name
  const log = openSync(join(folder, 'tgtd.log'), 'w');
  const child = spawn('tgtd', ['-f', '-C', control, '--iscsi', `portal=127.0.0.1:${port}`], {
    stdio: ['ignore', log, log],
  });
  child.on('error', () => undefined); // what asks it says so
  const admin = async (...args: string[]) => {
    await runProgram('tgtadm', ['-C', control, '--lld', 'iscsi', ...args], { timeoutMs: 20_000 });
  };
  test.after(async () => {
    try {
      await admin('--op', 'delete', '--force', '--mode', 'target', '--tid', '1');
      await runProgram('tgtadm', ['-C', control, '--op', 'delete', '--mode', 'system']);
    } finally {
      child.kill('SIGKILL');
    }
  });
  const begin = () => admin('--op', 'new', '--mode', 'target', '--tid', '1', '-T', targetName);
  let last = '';
  await waitUntil(
    async () => {
      try {
        await begin();
        return true;
      } catch (error) {
        last = toPrimaError(error, 'starting tgtd').message;
        return false;
      }
    },
    { what: `tgtd to answer (${last})` },
  );
  await admin('--op', 'bind', '--mode', 'target', '--tid', '1', '-I', '127.0.0.1');
  const onLun = (op: string, lun: number, ...more: string[]) =>
    admin('--op', op, '--mode', 'logicalunit', '--tid', '1', '--lun', String(lun), ...more);
  return {
    url: (lun) => `iscsi://127.0.0.1:${port}/${targetName}/${lun}`,
    add: async (lun, file, id) => {
      await onLun('new', lun, '-b', file, '--bstype', 'rdwr');
      await onLun('update', lun, '--params', `scsi_id=${id},scsi_sn=${id},thin_provisioning=1`);
    },
    remove: (lun) => onLun('delete', lun),
  };
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectNbd, type NbdDevice, type WritableNbdDevice } from '@prima/nbd';
import { fileExists } from './machine-folder.ts';

interface Options {
  format: string;
  writable?: boolean;
  bitmap?: string;
  signal?: AbortSignal;
}
export async function openWithQemu(path: string, o: Options & { writable: true }): Promise<WritableNbdDevice>;
export async function openWithQemu(path: string, o: Options): Promise<NbdDevice>;
export async function openWithQemu(path: string, o: Options): Promise<NbdDevice> {
  const dir = await mkdtemp(join(tmpdir(), 'qn-'));
  const socketPath = join(dir, 's');
  const args = ['-t', '-e', '8', '-f', o.format, '-k', socketPath, ...(o.writable ? [] : ['-r'])];
  if (o.bitmap !== undefined) args.push('-B', o.bitmap);
  const child = spawn('qemu-nbd', [...args, path], { stdio: 'inherit' });
  while (!(await fileExists(socketPath))) await new Promise((r) => setTimeout(r, 10));
  const device = await connectNbd(
    { socketPath },
    {
      writable: o.writable ?? false,
      contexts: o.bitmap === undefined ? [] : [`qemu:dirty-bitmap:${o.bitmap}`],
    },
  );
  const inner = device.close.bind(device);
  device.close = async () => {
    await inner();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill();
      await once(child, 'exit');
    }
    await rm(dir, { recursive: true, force: true });
  };
  return device;
}

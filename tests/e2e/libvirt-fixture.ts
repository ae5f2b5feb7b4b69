/** A libvirt host with the tiny guest in it, for end-to-end tests; everything is ended and removed afterwards. */
import assert from 'node:assert/strict';
import { chmod, cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from '@prima/base';
import { connectLibvirt, type LibvirtConnection } from '@prima/libvirt';
import { openLibvirtHost, type Machine, type Platform } from '@prima/platforms';
import {
  buildTinyGuest,
  type Cleanup,
  type LibvirtDaemon,
  type LibvirtDaemonOptions,
  startLibvirtDaemon,
  type TinyGuest,
  waitUntil,
} from '@prima/testbed';

export interface LibvirtWorld {
  daemon: LibvirtDaemon;
  platform: Platform;
  connection: LibvirtConnection;
  guest: TinyGuest;
  /** What the guest starts from. */
  boot: { kernel: string; initrd: string };
}

export async function libvirtWorld(test: Cleanup, options: LibvirtDaemonOptions = {}): Promise<LibvirtWorld> {
  const guest = await buildTinyGuest();
  const opened: { close(): Promise<void> }[] = [];
  test.after(async () => {
    for (const one of opened) await one.close();
  });
  const daemon = await startLibvirtDaemon(test, options);
  // machines may run as somebody else than we: the way to their files is open, and the kernel is not the cached one
  await chmod(daemon.folder, 0o711);
  const boot = { kernel: join(daemon.disks, 'kernel'), initrd: join(daemon.disks, 'initrd') };
  await cp(guest.kernel, boot.kernel);
  await cp(guest.initrd, boot.initrd);
  const platform = openLibvirtHost('lab', daemon.uri, { root: daemon.root });
  const connection = await connectLibvirt(daemon.uri);
  opened.push(platform, connection);
  return { daemon, platform, connection, guest, boot };
}

export interface GuestOptions {
  /** Formats of its disks: the system, and one that records are written to. Default both qcow2. */
  formats?: readonly ['raw' | 'qcow2', 'raw' | 'qcow2'];
  /** More devices, as XML. */
  devices?: string;
  /** More of <os>. */
  os?: string;
  sizeBytes?: number;
  /** Run it as nobody in particular, as distributions run theirs. Needs `dynamic_ownership = 1`. */
  isUnprivileged?: boolean;
}

/** A machine that writes records to its second disk; off. */
export async function defineGuest(
  { daemon, platform, guest, boot }: LibvirtWorld,
  name: string,
  options: GuestOptions = {},
): Promise<Machine> {
  const { formats = ['qcow2', 'qcow2'], devices = '', os = '', isUnprivileged = false } = options;
  const label = "<seclabel type='static' model='dac' relabel='yes'><label>+64055:+64055</label></seclabel>";
  const raw = join(daemon.disks, `${name}.tmp`);
  const disks: string[] = [];
  for (const [index, format] of formats.entries()) {
    const path = join(daemon.disks, `${name}-${index}.${format}`);
    if (index === 0) await guest.rootDisk(raw, options.sizeBytes);
    else await guest.dataDisk(raw);
    await runProgram('qemu-img', ['convert', '-f', 'raw', '-O', format, raw, path]);
    await runProgram('rm', [raw]);
    const target = `vd${'abc'.charAt(index)}`;
    disks.push(
      `<disk type='file' device='disk'><driver name='qemu' type='${format}' discard='unmap'/><source file='${path}'/><target dev='${target}' bus='virtio'/></disk>`,
    );
  }
  const append = guest.kernelArguments({ write: true, data: '/dev/vdb' });
  const xml = `<domain type='qemu'><name>${name}</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type>${os}<kernel>${boot.kernel}</kernel><initrd>${boot.initrd}</initrd><cmdline>${append}</cmdline></os>
<features><acpi/></features><cpu mode='maximum'/><on_crash>destroy</on_crash>
<devices>${disks.join('')}<controller type='usb' model='none'/><controller type='virtio-serial'/>
<serial type='pty'><log file='${daemon.disks}/${name}.log'/></serial><video><model type='vga'/></video>
<interface type='user'><mac address='52:54:00:aa:bb:cc'/><model type='virtio'/><rom enabled='no'/></interface>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng><memballoon model='none'/>${devices}</devices>${isUnprivileged ? label : ''}</domain>`;
  await daemon.virsh('define', await fileWith(daemon, `${name}.xml`, xml));
  return platform.find(name);
}

async function fileWith(daemon: LibvirtDaemon, name: string, text: string): Promise<string> {
  const path = join(daemon.disks, name);
  await writeFile(path, text);
  return path;
}

/** Starts it where it is off, and waits until its agent answers. */
export async function startGuest({ platform, daemon }: LibvirtWorld, machine: Machine): Promise<Machine> {
  await platform.power(machine, 'start');
  await waitUntil(
    async () => {
      const ping = JSON.stringify({ execute: 'guest-ping' });
      return daemon.virsh('qemu-agent-command', machine.name, ping).then(
        () => true,
        () => false,
      );
    },
    { what: `the agent of ${machine.name}`, timeoutMs: 120_000 },
  );
  return platform.find(machine.name);
}

/** Kills its QEMU as a crash would, and waits until libvirt knows: until then a start finds it running. */
export async function crashGuest({ platform, daemon }: LibvirtWorld, name: string): Promise<Machine> {
  const pid = await daemon.machinePid(name);
  assert.ok(pid !== undefined, `${name} runs`);
  process.kill(pid, 'SIGKILL');
  return waitUntil(
    async () => {
      const machine = await platform.find(name);
      return machine.state === 'off' && machine;
    },
    { what: `libvirt to know that ${name} has crashed` },
  );
}

interface ExecStatus {
  return: { exited: boolean; exitcode?: number; 'out-data'?: string; 'err-data'?: string };
}

/** Runs a shell script in the guest, through the daemon, and returns what it printed. */
export async function shell({ daemon }: LibvirtWorld, name: string, script: string): Promise<string> {
  return exec(daemon, name, ['/bin/sh', '-c', script]);
}

async function exec(
  daemon: LibvirtDaemon,
  name: string,
  [path, ...arg]: string[],
  accept: readonly number[] = [0],
): Promise<string> {
  const ask = async <T>(execute: string, args: object): Promise<T> =>
    JSON.parse(
      await daemon.virsh('qemu-agent-command', name, JSON.stringify({ execute, arguments: args })),
    ) as T;
  const started = await ask<{ return: { pid: number } }>('guest-exec', {
    path,
    arg,
    'capture-output': true,
  });
  const status = await waitUntil(
    async () => {
      const { return: found } = await ask<ExecStatus>('guest-exec-status', { pid: started.return.pid });
      return found.exited && found;
    },
    { what: `${path} in ${name}`, timeoutMs: 120_000, intervalMs: 100 },
  );
  const text = (data = '') => Buffer.from(data, 'base64').toString();
  assert.ok(accept.includes(status.exitcode ?? -1), `${path}: ${text(status['err-data'])}`);
  return text(status['out-data']).trim();
}

/** What verify-records finds in the guest. */
export async function verifyGuest(
  { daemon }: LibvirtWorld,
  name: string,
): Promise<{ bad: number; records: number; last: number; counter: number; bootId: string }> {
  return JSON.parse(await exec(daemon, name, ['/bin/verify-records', '/data'], [0, 1])) as {
    bad: number;
    records: number;
    last: number;
    counter: number;
    bootId: string;
  };
}

/** Names of the bitmaps in a qcow2 file that nobody has open. */
export async function bitmapsOf(path: string): Promise<string[]> {
  const { stdout } = await runProgram('qemu-img', ['info', '--output=json', path]);
  const info = JSON.parse(stdout) as { 'format-specific': { data: { bitmaps?: { name: string }[] } } };
  return (info['format-specific'].data.bitmaps ?? []).map(({ name }) => name);
}

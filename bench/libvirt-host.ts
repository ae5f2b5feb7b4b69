/**
 * A running libvirt machine, backed up and restored beside virtnbdbackup: a 4 GiB qcow2 disk with 1.8 GiB of files, both in pull
 * mode with checkpoints of their own. Prima deduplicates, compresses, encrypts and reads back; the peer does none of
 * these. Both are timed until what they wrote is on the disk: the peer's folder is synced, Prima does it itself.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PrimaError, runProgram } from '@prima/base';
import {
  buildTinyGuest,
  type LibvirtDaemon,
  projectRoot,
  startLibvirtDaemon,
  waitUntil,
} from '@prima/testbed';
import { type ProgramRun, runMeasured } from './program-run.ts';
import { compared } from './race-rows.ts';
import { median, type Row } from './results.ts';

const steps = ['full', 'incremental', 'restore'] as const;
type Step = (typeof steps)[number];
type Times = Record<Step, ProgramRun[]>;

export interface LibvirtRace {
  prima: Times;
  virtnbdbackup: Times;
}

export interface LibvirtRaceOptions {
  folder: string;
  /** A raw disk with a file system. */
  disk: string;
  rounds: number;
  passphrase: string;
}

/** Needs root, for the daemon of its own. */
export async function raceOnLibvirt(options: LibvirtRaceOptions): Promise<LibvirtRace> {
  const cleanups: (() => Promise<void>)[] = [];
  try {
    const daemon = await startLibvirtDaemon({ after: (task) => void cleanups.push(task) });
    await defineMachine(daemon, options.disk);
    const race: LibvirtRace = { prima: newTimes(), virtnbdbackup: newTimes() };
    for (let round = 0; round < options.rounds; round += 1) await runRound(daemon, race, options, round);
    return race;
  } finally {
    for (const task of cleanups) await task();
  }
}

const newTimes = (): Times => ({ full: [], incremental: [], restore: [] });

async function runRound(
  daemon: LibvirtDaemon,
  race: LibvirtRace,
  { folder, passphrase }: LibvirtRaceOptions,
  round: number,
): Promise<void> {
  const at = (name: string) => join(folder, `${name}-${round}`);
  for (const name of ['home', 'out', 'peer', 'peer-out']) await mkdir(at(name));
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: passphrase };
  const prima = (...args: string[]) =>
    runMeasured([...daemon.within, join(projectRoot, 'bin/prima'), '--quiet', ...args], { env });
  const peer = (...args: string[]) => runMeasured([...daemon.within, ...args]);
  // what the peer has written is not on the disk yet
  const flushed = async (run: Promise<ProgramRun>, path: string): Promise<ProgramRun> => {
    const first = await run;
    const sync = await runMeasured(['sync', '-f', path]);
    return { ...first, seconds: first.seconds + sync.seconds };
  };
  const scratch = ['-S', daemon.disks, '-n'];
  const backup = (level: string) =>
    flushed(
      peer('virtnbdbackup', '-d', 'web', '-l', level, '-i', 'vdb', '-o', at('peer'), ...scratch),
      at('peer'),
    );
  const contenders: Record<keyof LibvirtRace, Record<Step, () => Promise<ProgramRun>>> = {
    prima: {
      full: () => prima('backup', 'lab/web'),
      incremental: () => prima('backup', 'lab/web'),
      restore: () => prima('restore', 'latest', '--to', at('out'), '--format', 'qcow2', '--disk', 'vdb'),
    },
    virtnbdbackup: {
      full: () => backup('full'),
      incremental: () => backup('inc'),
      restore: () =>
        flushed(peer('virtnbdrestore', '-n', '-i', at('peer'), '-o', at('peer-out')), at('peer-out')),
    },
  };
  await prima('init');
  await prima('host', 'add', 'lab', 'qemu:///system');
  const order: (keyof LibvirtRace)[] =
    round % 2 === 0 ? ['prima', 'virtnbdbackup'] : ['virtnbdbackup', 'prima'];
  // one after the other, each from nothing: the peer refuses machines that have other checkpoints than its own
  for (const name of order) {
    for (const step of steps) {
      if (step === 'incremental') await change(daemon);
      race[name][step].push(await contenders[name][step]());
    }
    const checkpoints = (await daemon.virsh('checkpoint-list', 'web', '--name')).split('\n').filter(Boolean);
    for (const checkpoint of checkpoints) await daemon.virsh('checkpoint-delete', 'web', checkpoint);
  }
  for (const name of ['out', 'peer', 'peer-out', 'repository']) await rm(at(name), { recursive: true });
}

/** A small system disk that Prima backs up, too, and the one that is measured. */
async function defineMachine(daemon: LibvirtDaemon, disk: string): Promise<void> {
  const guest = await buildTinyGuest();
  const [system, data] = [join(daemon.disks, 'system.raw'), join(daemon.disks, 'data.qcow2')];
  await guest.rootDisk(system);
  await runProgram('qemu-img', ['convert', '-O', 'qcow2', disk, data], { timeoutMs: 600_000 });
  const append = guest.kernelArguments({ data: '/dev/vdb' });
  const path = join(daemon.disks, 'web.xml');
  await writeFile(
    path,
    `<domain type='qemu'><name>web</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>${guest.kernel}</kernel><initrd>${guest.initrd}</initrd><cmdline>${append}</cmdline></os>
<features><acpi/></features><cpu mode='maximum'/><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${system}'/><target dev='vda' bus='virtio'/><readonly/></disk>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' discard='unmap'/><source file='${data}'/><target dev='vdb' bus='virtio'/></disk>
<controller type='usb' model='none'/><controller type='virtio-serial'/>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel><memballoon model='none'/></devices></domain>`,
  );
  await daemon.virsh('define', path);
  await daemon.virsh('start', 'web');
  await waitUntil(
    () =>
      ask(daemon, 'guest-ping').then(
        () => true,
        () => false,
      ),
    { what: "the guest's agent", timeoutMs: 180_000 },
  );
}

/** 64 MiB of new content. */
async function change(daemon: LibvirtDaemon): Promise<void> {
  const script = 'dd if=/dev/urandom of=/data/changed bs=1M count=64 conv=fsync; sync';
  const { pid } = await ask<{ pid: number }>(daemon, 'guest-exec', { path: '/bin/sh', arg: ['-c', script] });
  await waitUntil(
    async () => {
      const status = await ask<{ exited: boolean; exitcode?: number }>(daemon, 'guest-exec-status', { pid });
      if (status.exited && status.exitcode !== 0) throw new PrimaError('remote', 'the guest could not write');
      return status.exited;
    },
    { what: 'the guest to write 64 MiB', timeoutMs: 300_000 },
  );
}

async function ask<T = unknown>(daemon: LibvirtDaemon, execute: string, args?: object): Promise<T> {
  const command = JSON.stringify({ execute, ...(args ? { arguments: args } : {}) });
  return (JSON.parse(await daemon.virsh('qemu-agent-command', 'web', command)) as { return: T }).return;
}

const wanted: Record<Step, { item: string; atLeast: number }> = {
  full: { item: 'libvirt, first backup', atLeast: 1.2 },
  incremental: { item: 'libvirt, incremental, 64 MiB changed', atLeast: 1.5 },
  restore: { item: 'libvirt, restore of full + incremental', atLeast: 2.5 },
};

export function libvirtRows({ prima, virtnbdbackup }: LibvirtRace): Row[] {
  return steps.map((step) => {
    const seconds = (runs: readonly ProgramRun[]) => median(runs.map((run) => run.seconds));
    const { item, atLeast } = wanted[step];
    return {
      item,
      ...compared('virtnbdbackup', seconds(prima[step]), seconds(virtnbdbackup[step])),
      wanted: { atLeast },
    };
  });
}

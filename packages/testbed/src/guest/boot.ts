/** Runs the tiny guest in QEMU for a test, with nothing of Prima's platforms in between. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  missingProgram,
  type PrimaError,
  RemoteError,
  systemClock,
  systemErrorCode,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import {
  type CallOptions,
  connectGuestAgent,
  connectQmp,
  type GuestAgent,
  type GuestExecResult,
  type QmpClient,
} from '@prima/qemu';
import { type RecordsReport, verifyRecords } from './records.ts';
import type { GuestArguments, TinyGuest } from './tiny-guest.ts';

export interface TestDisk {
  path: string;
  /** QEMU's block driver for the file. Default `raw`. */
  format?: string;
  /** `virtio` is /dev/vdX in the guest (the default), `scsi` is /dev/sdX. */
  bus?: 'virtio' | 'scsi';
}

export interface BootOptions {
  guest: TinyGuest;
  /** A private folder for its sockets and console log. */
  folder: string;
  /** The first is /dev/vda, QEMU node `disk0`, device `dev0`; and so on. */
  disks: readonly TestDisk[];
  /** What the guest does; the root is /dev/vda unless told. */
  arguments?: GuestArguments;
  /** Default 192, which is enough for everything the guest has. */
  memoryMiB?: number;
  /** More of QEMU's arguments. */
  extraArguments?: readonly string[];
  /** How long it may take until the agent answers. Default 120 s (it takes 4 on an idle machine). */
  timeoutMs?: number;
}

/**
 * A running guest. Disposing of it kills it. It also dies with this process.
 */
export interface TestMachine extends AsyncDisposable {
  readonly pid: number;
  readonly qmp: QmpClient;
  readonly agent: GuestAgent;
  /** The file that the guest's serial console is written to. */
  readonly consoleLog: string;
  /** Resolves when QEMU has ended, with its exit status (null when a signal ended it). */
  readonly ended: Promise<number | null>;
  /** Runs a shell script in the guest and returns what it printed; raises `remote` unless it ended with 0. */
  shell(script: string): Promise<string>;
  /** Runs a program in the guest. */
  exec(path: string, args?: readonly string[]): Promise<GuestExecResult>;
  verifyRecords(): Promise<RecordsReport>;
  /** Presses the power button and waits until the guest is down and QEMU has ended. */
  stop(timeoutMs?: number): Promise<void>;
  /** Kills QEMU as a crash would and waits for its end. May be called again. */
  kill(): Promise<void>;
}

/** Starts the guest and waits for its agent. Raises `remote` with QEMU's message or the console's end. */
export async function bootGuest(options: BootOptions): Promise<TestMachine> {
  const { folder, timeoutMs = 120_000 } = options;
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...qemuArguments(options)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const messages: Buffer[] = [];
  child.stderr.on('data', (data: Buffer) => messages.push(data));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) =>
      reject(
        systemErrorCode(error) === 'ENOENT'
          ? missingProgram('setpriv')
          : toPrimaError(error, 'starting QEMU'),
      ),
    );
    child.once('close', resolve);
  });
  const giveUp = new AbortController();
  void ended.then(
    (status) => giveUp.abort(endedEarly(status, Buffer.concat(messages).toString().trim())),
    (error: unknown) => giveUp.abort(error),
  );
  try {
    const connections = await withDeadline(
      timeoutMs,
      "waiting for the tiny guest's agent",
      (signal) => connect(folder, signal),
      giveUp.signal,
    );
    return machine({ child, ended, folder, ...connections });
  } catch (error) {
    child.kill('SIGKILL');
    const log = await readFile(join(folder, consoleName), 'latin1').catch(() => '');
    const text = error instanceof Error ? error.message : String(error);
    throw new RemoteError(`booting the tiny guest: ${text}\nend of its console:\n${log.slice(-1500)}`, {
      cause: error,
    });
  }
}

function endedEarly(status: number | null, said: string): PrimaError {
  if (status === 127) return missingProgram('qemu-system-x86_64');
  return new RemoteError(`QEMU ended with status ${status} before the guest was up: ${said}`);
}

const consoleName = 'console.log';

/** Software emulation always: it works everywhere, and the same everywhere. */
const machineArguments =
  '-machine q35 -accel tcg,thread=multi -cpu max -smp 1 -nodefaults -no-user-config -display none';

function qemuArguments(options: BootOptions): string[] {
  const { guest, folder, disks, memoryMiB = 192, extraArguments = [] } = options;
  const file = (name: string) => `path=${join(folder, name).replaceAll(',', ',,')}`;
  const listen = 'server=on,wait=off';
  const own = [
    ['-m', String(memoryMiB)],
    ['-kernel', guest.kernel, '-initrd', guest.initrd],
    ['-append', guest.kernelArguments(options.arguments)],
    ['-chardev', `file,id=console,${file(consoleName)}`, '-serial', 'chardev:console'],
    ['-chardev', `socket,id=qmp,${file('qmp')},${listen}`, '-mon', 'chardev=qmp,mode=control'],
    ['-chardev', `socket,id=agent,${file('agent')},${listen}`, '-device', 'virtio-serial-pci'],
    ['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0', '-device', 'virtio-rng-pci'],
    disks.some((disk) => disk.bus === 'scsi') ? ['-device', 'virtio-scsi-pci,id=scsi'] : [],
    ...disks.map(diskArguments),
  ];
  return [...machineArguments.split(' '), ...own.flat(), ...extraArguments];
}

function diskArguments({ path, format = 'raw', bus = 'virtio' }: TestDisk, index: number): string[] {
  const file = { driver: 'file', filename: path };
  const node = { 'node-name': `disk${index}`, driver: format, discard: 'unmap', file };
  const device = bus === 'virtio' ? 'virtio-blk-pci' : 'scsi-hd,bus=scsi.0';
  return ['-blockdev', JSON.stringify(node), '-device', `${device},drive=disk${index},id=dev${index}`];
}

/** Tries again until both answer: the sockets appear when QEMU is up, the agent when the guest is. */
async function connect(folder: string, signal: AbortSignal): Promise<{ qmp: QmpClient; agent: GuestAgent }> {
  const persist = async <T>(attempt: (options: CallOptions) => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await attempt({ timeoutMs: 5000, signal });
      } catch {
        await systemClock.sleep(50, signal); // the deadline's reason tells what did not answer
      }
    }
  };
  const qmp = await persist((call) => connectQmp(join(folder, 'qmp'), call));
  try {
    return { qmp, agent: await persist((call) => connectGuestAgent(join(folder, 'agent'), call)) };
  } catch (error) {
    await qmp.close();
    throw error;
  }
}

interface Running {
  child: ChildProcess;
  ended: Promise<number | null>;
  folder: string;
  qmp: QmpClient;
  agent: GuestAgent;
}

function machine({ child, ended, folder, qmp, agent }: Running): TestMachine {
  const exec = (path: string, args: readonly string[] = []) => agent.exec(path, args);
  const disconnect = async () => {
    await agent.close();
    await qmp.close();
  };
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
    await disconnect();
  };
  return {
    pid: child.pid ?? 0,
    qmp,
    agent,
    consoleLog: join(folder, consoleName),
    ended,
    exec,
    verifyRecords: () => verifyRecords(agent),
    shell: async (script) => {
      const { status, stdout, stderr } = await exec('/bin/sh', ['-c', script]);
      if (status === 0) return stdout;
      throw new RemoteError(`"${script}" in the guest ended with status ${status}: ${stderr || stdout}`);
    },
    stop: async (timeoutMs = 60_000) => {
      await qmp.execute('system_powerdown');
      await withDeadline(timeoutMs, 'waiting for the tiny guest to power down', () => ended);
      await disconnect();
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

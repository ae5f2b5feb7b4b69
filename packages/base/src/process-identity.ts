/**
 * Who holds something: a process, named so that a recycled pid is never taken for it. Locks,
 * journals and session markers store it and ask later whether that process is still there.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { systemErrorCode } from './errors.ts';

export interface ProcessIdentity {
  host: string;
  /** The kernel's boot id: a process of an earlier boot is dead. */
  boot: string;
  pid: number;
  /** Start of the process in clock ticks since boot, field 22 of /proc/PID/stat (proc(5)). */
  pidStart: string;
}

/** The identity of `pid`, or undefined when there is no such process (or it is a zombie). */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const pidStart = await startOf(pid);
  if (pidStart === undefined) return undefined;
  return { host: hostname(), boot: await bootId(), pid, pidStart };
}

/** This process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return {
    host: hostname(),
    boot: await bootId(),
    pid: process.pid,
    pidStart: (await startOf(process.pid)) ?? '',
  };
}

/** `unknown` when the process belongs to another host, which cannot be asked. */
export async function liveness(identity: ProcessIdentity): Promise<'alive' | 'dead' | 'unknown'> {
  if (identity.host !== hostname()) return 'unknown';
  if (identity.boot !== (await bootId())) return 'dead';
  return (await startOf(identity.pid)) === identity.pidStart ? 'alive' : 'dead';
}

/** A process named in 20 to 50 letters, digits and dots: for names of files whose owner has to be known at once. */
export async function ownTag(): Promise<string> {
  return tagOf(await ownIdentity());
}

/** As `liveness`, of a process named by `ownTag`; undefined when `tag` is not one. */
export async function livenessOfTag(tag: string): Promise<'alive' | 'dead' | 'unknown' | undefined> {
  const [, host, pid] = /^([0-9a-f]{8})\.[0-9a-f]{8}\.(\d{1,10})\.\d+$/.exec(tag) ?? [];
  if (pid === undefined) return undefined;
  if (host !== hostTag(hostname())) return 'unknown';
  const identity = await identityOf(Number(pid));
  return identity && tagOf(identity) === tag ? 'alive' : 'dead';
}

function tagOf({ host, boot, pid, pidStart }: ProcessIdentity): string {
  return `${hostTag(host)}.${boot.slice(0, 8)}.${pid}.${pidStart}`;
}

function hostTag(host: string): string {
  return createHash('sha256').update(host).digest('hex').slice(0, 8);
}

async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'latin1')).trim();
}

async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // the name in parentheses may hold anything; what follows its last ")" is plain
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

/** libvirt's checkpoints of a machine: what is there, telling libvirt of one whose bitmaps it has forgotten, removing. */
import { toPrimaError } from '@prima/base';
import {
  type Checkpoint as CheckpointRef,
  CheckpointCreateFlags,
  CheckpointDeleteFlags,
  CheckpointXmlFlags,
  type Domain as DomainRef,
  LibvirtError,
  type LibvirtConnection,
} from '@prima/libvirt';
import { type KnownCheckpoint, knownCheckpointXml, parseCheckpoint } from './backup-xml.ts';
import { checkpointPrefix, diskOfRefusal } from './tracking.ts';

/** All that libvirt knows of, ours and others'. */
export async function listCheckpoints(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<KnownCheckpoint[]> {
  const { checkpoints } = await connection.call('domainListAllCheckpoints', { dom });
  const known: KnownCheckpoint[] = [];
  for (const checkpoint of checkpoints) {
    const flags = CheckpointXmlFlags.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN;
    const { xml } = await connection.call('domainCheckpointGetXmlDesc', { checkpoint, flags });
    known.push(parseCheckpoint(xml));
  }
  return known;
}

export interface Usable {
  /** Targets of the disks whose bitmap is there and sound. */
  tracked: string[];
  /** Those that were asked for and have none that can be used, and what libvirt says of it. */
  broken: { target: string; why: string }[];
  /** libvirt did not know the checkpoint, and does now. */
  toldAgain: boolean;
}

export interface Asked {
  name: string;
  /** The disks that are asked about. */
  targets: readonly string[];
  /** What libvirt knows of it. */
  known: KnownCheckpoint | undefined;
  /** Targets of all disks that the machine has. */
  present: readonly string[];
}

/**
 * Which of `targets` have a usable bitmap of the checkpoint `name`, on a machine whose QEMU runs. Where libvirt has forgotten the
 * checkpoint (the machine was undefined, or moved to this host) it is told of it again, with the disks that have it. What it knew
 * stays: a bitmap that is of no use now has to go with its checkpoint all the same.
 */
export async function usableBitmaps(
  connection: LibvirtConnection,
  dom: DomainRef,
  { name, known, present, ...checkpoint }: Asked,
): Promise<Usable> {
  const made = known?.made ?? Math.floor(Date.now() / 1000);
  const broken: Usable['broken'] = [];
  let tracked = [...checkpoint.targets];
  while (tracked.length > 0) {
    try {
      await tellCheckpoint(connection, dom, { name, tracked, made, validate: true });
      if (known) {
        const all = known.tracked.filter((target) => present.includes(target));
        await tellCheckpoint(connection, dom, { ...known, tracked: all, validate: false });
      }
      return { tracked, broken, toldAgain: known === undefined };
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      const target = diskOfRefusal(error.text);
      if (target === undefined || !tracked.includes(target)) throw error;
      broken.push({ target, why: error.text });
      tracked = tracked.filter((other) => other !== target);
    }
  }
  return { tracked, broken, toldAgain: false };
}

/** Adds or corrects what libvirt knows; the bitmaps are there already. `validate` needs a machine that runs. */
export async function tellCheckpoint(
  connection: LibvirtConnection,
  dom: DomainRef,
  checkpoint: Omit<KnownCheckpoint, 'tracked'> & { tracked: readonly string[]; validate: boolean },
): Promise<void> {
  const { validate, ...told } = checkpoint;
  const flags =
    CheckpointCreateFlags.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE |
    (validate ? CheckpointCreateFlags.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE : 0);
  await connection.call('domainCheckpointCreateXml', {
    dom,
    xml: knownCheckpointXml(told),
    flags,
  });
}

/**
 * Removes a checkpoint with its bitmaps; answers whether there was one. Where bitmaps of it are missing or broken, which libvirt
 * refuses, those that are there go all the same. Of a machine that is off only libvirt's knowledge goes.
 */
export async function deleteCheckpoint(
  connection: LibvirtConnection,
  dom: DomainRef,
  name: string,
): Promise<boolean> {
  let checkpoint: CheckpointRef;
  try {
    ({ checkpoint } = await connection.call('domainCheckpointLookupByName', { dom, name }));
  } catch (error) {
    if (toPrimaError(error, 'looking').code === 'not-found') return false;
    throw error;
  }
  try {
    await connection.call('domainCheckpointDelete', { checkpoint });
    return true;
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
  }
  await deletePartly(connection, dom, name);
  return true;
}

/** Removes all checkpoints of one repository but the one called `keep`. */
export async function deleteOlderCheckpoints(
  connection: LibvirtConnection,
  dom: DomainRef,
  owner: string,
  keep: string,
): Promise<void> {
  const prefix = checkpointPrefix(owner);
  for (const { name } of await listCheckpoints(connection, dom)) {
    if (name.startsWith(prefix) && name !== keep) await deleteCheckpoint(connection, dom, name);
  }
}

async function deletePartly(connection: LibvirtConnection, dom: DomainRef, name: string): Promise<void> {
  const { checkpoint } = await connection.call('domainCheckpointLookupByName', { dom, name });
  const flags = CheckpointXmlFlags.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN;
  const { xml } = await connection.call('domainCheckpointGetXmlDesc', { checkpoint, flags });
  const known = parseCheckpoint(xml);
  const onlyKnowledge = CheckpointDeleteFlags.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY;
  await connection.call('domainCheckpointDelete', { checkpoint, flags: onlyKnowledge });
  for (const target of known.tracked) {
    try {
      await tellCheckpoint(connection, dom, { name, tracked: [target], made: known.made, validate: true });
      const again = await connection.call('domainCheckpointLookupByName', { dom, name });
      await connection.call('domainCheckpointDelete', again);
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error; // this disk has no bitmap of it, or is gone
      await forgetCheckpoint(connection, dom, name);
    }
  }
}

/** libvirt knows it no longer; bitmaps stay. */
export async function forgetCheckpoint(
  connection: LibvirtConnection,
  dom: DomainRef,
  name: string,
): Promise<void> {
  try {
    const { checkpoint } = await connection.call('domainCheckpointLookupByName', { dom, name });
    const flags = CheckpointDeleteFlags.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY;
    await connection.call('domainCheckpointDelete', { checkpoint, flags });
  } catch (error) {
    if (toPrimaError(error, 'looking').code !== 'not-found') throw error;
  }
}

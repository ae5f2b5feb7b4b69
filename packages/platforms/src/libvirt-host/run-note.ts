/**
 * What is under way on a running machine, written into its metadata on the host before it is begun (live only: it never
 * gets into the machine's configuration), so that whoever finds it can undo it: the run itself, its guardian, the next run.
 */
import { type ProcessIdentity, PrimaError } from '@prima/base';
import {
  AffectFlags,
  type Domain as DomainRef,
  LibvirtError,
  type LibvirtConnection,
  MetadataType,
} from '@prima/libvirt';
import { elementMaker, newDocument, parseXml, textAt, writeXml } from '@prima/xml';

/** The namespace of the element, by which libvirt finds it. */
const uri = 'urn:prima:run:1';
const key = 'prima';

export interface RunNote {
  version: 1;
  /** Of this run alone. */
  run: string;
  process: ProcessIdentity;
  /** "a hot backup" */
  purpose: string;
  /** ISO 8601. */
  begun: string;
  /** The point in time may not have been taken: the guest may be frozen or stopped by us. */
  inWindow: boolean;
  /** It ran, so it has to run afterwards. */
  wasRunning: boolean;
  freezes: boolean;
  /** libvirt's checkpoint that comes with the point. */
  checkpoint?: string;
  /** The restore point is being committed, or is: its checkpoint is needed. */
  isCommitting?: boolean;
  /** Where QEMU serves the disks: tells our job from another's. */
  socket: string;
  /** Saved memory, on the host. */
  memoryFile?: string;
}

export async function readRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
): Promise<RunNote | undefined> {
  let metadata: string;
  try {
    ({ metadata } = await connection.call('domainGetMetadata', {
      dom,
      type: MetadataType.VIR_DOMAIN_METADATA_ELEMENT,
      uri,
      flags: AffectFlags.VIR_DOMAIN_AFFECT_LIVE,
    }));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
  const text = textAt(parseXml(metadata, `what is under way on ${dom.name}`).root) ?? '';
  try {
    const note = JSON.parse(text) as RunNote;
    if (note.version === 1 && typeof note.run === 'string' && typeof note.process.pid === 'number')
      return note;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof TypeError)) throw error;
  }
  throw new PrimaError(
    'newer-version',
    `${dom.name}: another version of Prima left a note of what it does there; use that version, or remove it (virsh metadata ${dom.name} ${uri} --live --remove)`,
  );
}

export async function writeRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  note: RunNote,
): Promise<void> {
  const metadata = writeXml(newDocument(elementMaker({})('run', {}, [JSON.stringify(note)]), "'"));
  await setMetadata(connection, dom, metadata);
}

/** Where the machine has ended there is nothing to remove; another run's note stays. */
export async function removeRunNote(
  connection: LibvirtConnection,
  dom: DomainRef,
  run: string,
): Promise<void> {
  if ((await readRunNote(connection, dom))?.run !== run) return;
  try {
    await setMetadata(connection, dom, undefined);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

async function setMetadata(
  connection: LibvirtConnection,
  dom: DomainRef,
  metadata: string | undefined,
): Promise<void> {
  await connection.call('domainSetMetadata', {
    dom,
    type: MetadataType.VIR_DOMAIN_METADATA_ELEMENT,
    metadata,
    key,
    uri,
    flags: AffectFlags.VIR_DOMAIN_AFFECT_LIVE,
  });
}

function isAbsent(error: unknown): boolean {
  return (
    error instanceof LibvirtError &&
    ['VIR_ERR_NO_DOMAIN_METADATA', 'VIR_ERR_NO_DOMAIN', 'VIR_ERR_OPERATION_INVALID'].includes(
      error.libvirtCode,
    )
  );
}

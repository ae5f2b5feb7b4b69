/**
 * Notes of ours in a machine's metadata on the host: a text in an element of a namespace of its own, as the machine runs (`live`)
 * or as it is defined (`config`).
 */
import {
  AffectFlags,
  type Domain as DomainRef,
  LibvirtError,
  type LibvirtConnection,
  MetadataType,
} from '@prima/libvirt';
import { elementMaker, newDocument, parseXml, textAt, writeXml } from '@prima/xml';

export interface MetadataPlace {
  /** The namespace of the element, by which libvirt finds it. */
  uri: string;
  /** The prefix that libvirt gives it. */
  key: string;
  element: string;
  where: 'live' | 'config';
}

const flagsOf = {
  live: AffectFlags.VIR_DOMAIN_AFFECT_LIVE,
  config: AffectFlags.VIR_DOMAIN_AFFECT_CONFIG,
} as const;

/** Undefined where there is none, the machine is gone, or it is not there in this way (off, or not persistent). */
export async function readMetadata(
  connection: LibvirtConnection,
  dom: DomainRef,
  { uri, where }: MetadataPlace,
): Promise<string | undefined> {
  try {
    const type = MetadataType.VIR_DOMAIN_METADATA_ELEMENT;
    const { metadata } = await connection.call('domainGetMetadata', {
      dom,
      type,
      uri,
      flags: flagsOf[where],
    });
    return textAt(parseXml(metadata, `the metadata ${uri} of ${dom.name}`).root) ?? '';
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** With undefined it is removed; where there is nothing to remove nothing is done. */
export async function writeMetadata(
  connection: LibvirtConnection,
  dom: DomainRef,
  { uri, key, element, where }: MetadataPlace,
  text: string | undefined,
): Promise<void> {
  const xml = text && writeXml(newDocument(elementMaker({})(element, {}, [text]), "'"));
  try {
    await connection.call('domainSetMetadata', {
      dom,
      type: MetadataType.VIR_DOMAIN_METADATA_ELEMENT,
      metadata: xml,
      key,
      uri,
      flags: flagsOf[where],
    });
  } catch (error) {
    if (text !== undefined || !isAbsent(error)) throw error;
  }
}

function isAbsent(error: unknown): boolean {
  return (
    error instanceof LibvirtError &&
    ['VIR_ERR_NO_DOMAIN_METADATA', 'VIR_ERR_NO_DOMAIN', 'VIR_ERR_OPERATION_INVALID'].includes(
      error.libvirtCode,
    )
  );
}

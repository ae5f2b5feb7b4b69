/** A daemon's refusal as a PrimaError, with libvirt's own domain, code and words. */
import { type ErrorCode, PrimaError } from '@prima/base';
import { domain, network, optionalText } from './calls/types.ts';
import { ErrorDomain, ErrorNumber } from './constants/errors.ts';
import { int32, optional, type Read, struct } from './xdr.ts';

/** virNetMessageError; the fields behind `level` have no use that is documented. */
export const errorMessage = struct({
  code: int32,
  domain: int32,
  message: optionalText,
  level: int32,
  dom: optional(domain),
  str1: optionalText,
  str2: optionalText,
  str3: optionalText,
  int1: int32,
  int2: int32,
  network: optional(network),
});

type ErrorName = keyof typeof ErrorNumber;

/** What libvirt's codes mean to Prima; those that are not here are `remote`. */
const codes: Partial<Record<ErrorName, ErrorCode>> = {
  VIR_ERR_NO_DOMAIN: 'not-found',
  VIR_ERR_NO_NETWORK: 'not-found',
  VIR_ERR_NO_STORAGE_POOL: 'not-found',
  VIR_ERR_NO_STORAGE_VOL: 'not-found',
  VIR_ERR_NO_NODE_DEVICE: 'not-found',
  VIR_ERR_NO_INTERFACE: 'not-found',
  VIR_ERR_NO_NWFILTER: 'not-found',
  VIR_ERR_NO_NWFILTER_BINDING: 'not-found',
  VIR_ERR_NO_SECRET: 'not-found',
  VIR_ERR_NO_DOMAIN_SNAPSHOT: 'not-found',
  VIR_ERR_NO_DOMAIN_CHECKPOINT: 'not-found',
  VIR_ERR_NO_DOMAIN_BACKUP: 'not-found',
  VIR_ERR_NO_DOMAIN_METADATA: 'not-found',
  VIR_ERR_NO_NETWORK_PORT: 'not-found',
  VIR_ERR_DEVICE_MISSING: 'not-found',
  VIR_ERR_DOM_EXIST: 'exists',
  VIR_ERR_NETWORK_EXIST: 'exists',
  VIR_ERR_STORAGE_VOL_EXIST: 'exists',
  VIR_ERR_NETWORK_PORT_EXIST: 'exists',
  VIR_ERR_STORAGE_POOL_BUILT: 'exists',
  VIR_ERR_OPERATION_INVALID: 'state',
  VIR_ERR_AGENT_UNRESPONSIVE: 'state',
  VIR_ERR_CHECKPOINT_INCONSISTENT: 'state',
  VIR_ERR_SNAPSHOT_REVERT_RISKY: 'refused',
  VIR_ERR_RESOURCE_BUSY: 'busy',
  VIR_ERR_BLOCK_COPY_ACTIVE: 'busy',
  VIR_ERR_OPERATION_TIMEOUT: 'timeout',
  VIR_ERR_OPERATION_ABORTED: 'remote',
  VIR_ERR_OPERATION_DENIED: 'permission',
  VIR_ERR_ACCESS_DENIED: 'permission',
  VIR_ERR_AUTH_FAILED: 'permission',
  VIR_ERR_AUTH_CANCELLED: 'permission',
  VIR_ERR_AUTH_UNAVAILABLE: 'permission',
  VIR_ERR_NO_SUPPORT: 'unsupported',
  VIR_ERR_OPERATION_UNSUPPORTED: 'unsupported',
  VIR_ERR_CONFIG_UNSUPPORTED: 'unsupported',
  VIR_ERR_ARGUMENT_UNSUPPORTED: 'unsupported',
  VIR_ERR_INVALID_ARG: 'usage',
  VIR_ERR_NO_NAME: 'usage',
  VIR_ERR_NO_OS: 'usage',
  VIR_ERR_OS_TYPE: 'usage',
  VIR_ERR_NO_SOURCE: 'usage',
  VIR_ERR_NO_TARGET: 'usage',
  VIR_ERR_NO_DEVICE: 'usage',
  VIR_ERR_XML_ERROR: 'usage',
  VIR_ERR_XML_DETAIL: 'usage',
  VIR_ERR_XML_INVALID_SCHEMA: 'usage',
};

/** Said by a daemon that is asked for the same while it still does it. */
const retryableCodes: readonly ErrorCode[] = ['busy', 'timeout'];

/**
 * The daemon refused. `details` has libvirt's `libvirtCode`, `libvirtDomain` (names where they are known, else numbers as
 * text), `level` (1 warning, 2 error) and `text`.
 */
export class LibvirtError extends PrimaError {
  override name = 'LibvirtError';
  /** `VIR_ERR_NO_DOMAIN` …; the number as text where this version does not know it. */
  readonly libvirtCode: string;
  /** `VIR_FROM_QEMU` …; likewise. */
  readonly libvirtDomain: string;
  /** libvirt's own words. */
  readonly text: string;

  constructor(doing: string, error: Read<typeof errorMessage>) {
    const libvirtCode = nameIn(ErrorNumber, error.code);
    const libvirtDomain = nameIn(ErrorDomain, error.domain);
    const text = error.message ?? 'no reason given';
    const code = codeOf(libvirtCode, text);
    super(code, `${doing}: ${text} (${libvirtCode})`, {
      retryable: retryableCodes.includes(code),
      details: { libvirtCode, libvirtDomain, level: error.level, text },
    });
    this.libvirtCode = libvirtCode;
    this.libvirtDomain = libvirtDomain;
    this.text = text;
  }
}

/**
 * A daemon that is older than a call does not know its number. One whose machine is in use waits for 30 s, then says so with the
 * code of a timeout; nothing has been begun.
 */
function codeOf(libvirtCode: string, text: string): ErrorCode {
  if (libvirtCode === 'VIR_ERR_OPERATION_TIMEOUT' && text.includes('cannot acquire state change lock'))
    return 'busy';
  if (libvirtCode === 'VIR_ERR_RPC' && text.startsWith('unknown procedure')) return 'unsupported';
  return (codes as Partial<Record<string, ErrorCode>>)[libvirtCode] ?? 'remote';
}

function nameIn(numbers: Readonly<Record<string, number>>, number: number): string {
  return Object.keys(numbers).find((name) => numbers[name] === number) ?? String(number);
}

/** NBD's error numbers and Prima's errors, in both directions. */
import { type ErrorCode, PrimaError, RemoteError } from '@prima/base';
import {
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOMEM,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EOVERFLOW,
  NBD_EPERM,
  NBD_ESHUTDOWN,
} from './protocol.ts';

const names: Partial<Record<number, string>> = {
  [NBD_EPERM]: 'NBD_EPERM',
  [NBD_EIO]: 'NBD_EIO',
  [NBD_ENOMEM]: 'NBD_ENOMEM',
  [NBD_EINVAL]: 'NBD_EINVAL',
  [NBD_ENOSPC]: 'NBD_ENOSPC',
  [NBD_EOVERFLOW]: 'NBD_EOVERFLOW',
  [NBD_ENOTSUP]: 'NBD_ENOTSUP',
  [NBD_ESHUTDOWN]: 'NBD_ESHUTDOWN',
};

/**
 * The error for a request that the server refused.
 * @param doing what was being done, to whom: "reading 512+4096 from the NBD server at /run/x"
 * @param text the server's own words, possibly empty
 */
export function requestFailed(number: number, doing: string, text: string): PrimaError {
  const name = names[number] ?? `error ${number}`;
  const words = text === '' ? '' : ` ("${text}")`;
  const message = `${doing}: the server answered ${name}${words}`;
  const details = { nbdError: number };
  switch (number) {
    case NBD_ENOSPC:
      return new PrimaError('no-space', message, { details });
    case NBD_EPERM:
      return new PrimaError('permission', message, { details });
    case NBD_ENOTSUP:
      return new PrimaError('unsupported', message, { details });
    default:
      return new RemoteError(message, {
        details,
        retryable: number === NBD_EIO || number === NBD_ENOMEM || number === NBD_ESHUTDOWN,
      });
  }
}

const numbers: Partial<Record<ErrorCode, number>> = {
  'no-space': NBD_ENOSPC,
  permission: NBD_EPERM,
  refused: NBD_EPERM,
  usage: NBD_EINVAL,
  unsupported: NBD_ENOTSUP,
  cancelled: NBD_ESHUTDOWN,
};

/** The number that tells an NBD client about a device's error; `NBD_EIO` where there is no better one. */
export function errorNumber(error: PrimaError): number {
  return numbers[error.code] ?? NBD_EIO;
}

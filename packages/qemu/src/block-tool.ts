/** Running qemu-img, and what its and qemu-nbd's complaints mean. */
import {
  FormatError,
  PrimaError,
  type ProgramResult,
  RemoteError,
  runProgram,
  StorageError,
} from '@prima/base';
import { plainEnvironment } from './environment.ts';

export interface BlockToolOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Runs qemu-img. Raises `busy`, `format`, `state`, `not-found`, `permission`, `no-space`, `unsupported`,
 * `missing-program`, `timeout`, `cancelled`, or `remote` for what it says otherwise.
 * @param doing for messages: "adding bitmap b0 to /srv/a.qcow2"
 */
export async function qemuImg(
  args: readonly string[],
  doing: string,
  options: BlockToolOptions & { accept?: readonly number[] } = {},
): Promise<ProgramResult> {
  try {
    return await runProgram('qemu-img', args, { ...options, env: plainEnvironment() });
  } catch (error) {
    throw error instanceof RemoteError && error.code === 'remote' ? explainComplaint(error, doing) : error;
  }
}

/** How QEMU's format drivers say that a file is not theirs, or damaged. */
const wrongFormat =
  /not in .* format|invalid \w+ image|bad signature|Could not open .*Invalid argument|Unsupported VDI image size|corrupt/i;

/** Turns a block tool's complaint (an error with the program's text) into the error that it means. */
export function explainComplaint(complaint: PrimaError, doing: string): PrimaError {
  const text = shorten(complaint.message);
  const cause = { cause: complaint };
  if (/Failed to get (?:shared )?"\w+" lock|Is another process using/.test(text)) {
    const message = `${doing}: the image is in use by another process (a running machine, or another tool): ${text}`;
    return new PrimaError('busy', message, { ...cause, retryable: true });
  }
  const message = `${doing}: ${text}`;
  if (/is inconsistent/.test(text)) return new PrimaError('state', message, cause);
  if (/No space left/.test(text)) return new StorageError('no-space', message, cause);
  if (/Permission denied|Read-only file system/.test(text))
    return new StorageError('permission', message, cause);
  if (/No such file|not found|Failed to load snapshot: Can.t find/.test(text))
    return new PrimaError('not-found', message, cause);
  if (/already exists/.test(text)) return new PrimaError('exists', message, cause);
  if (wrongFormat.test(text)) {
    return new FormatError(message, cause);
  }
  if (/not supported|nsupported|does not support/.test(text))
    return new PrimaError('unsupported', message, cause);
  return complaint.code === 'remote' ? new RemoteError(message, cause) : complaint;
}

/** Block graphs in JSON make QEMU's messages long; the path that they are about is said anyway. */
function shorten(text: string): string {
  return text.replaceAll(/'json:\{.*?\}'(?=[:\s]|$)/gm, 'it');
}

/** A picture of a libvirt machine's screen, as PNG. */
import { MiB, PrimaError } from '@prima/base';
import type { Domain as DomainRef, LibvirtConnection } from '@prima/libvirt';
import { ppmToPng } from '../picture.ts';
import type { MachineState } from '../platform.ts';

const pictureLimitBytes = 64 * MiB;

/** Raises `state` when it is off, `unsupported` when it has no screen. */
export async function screenshot(
  connection: LibvirtConnection,
  dom: DomainRef,
  state: MachineState,
): Promise<Uint8Array> {
  if (state !== 'running' && state !== 'paused')
    throw new PrimaError('state', `${dom.name} is ${state}: its screen is dark`);
  const stream = await connection.openStream('domainScreenshot', { dom });
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of stream) {
    length += piece.length;
    if (length > pictureLimitBytes)
      throw new PrimaError(
        'unsupported',
        `the screen of ${dom.name} has more than ${pictureLimitBytes} bytes`,
      );
    pieces.push(piece);
  }
  const picture = Buffer.concat(pieces);
  return picture.subarray(1, 4).toString('latin1') === 'PNG' ? picture : ppmToPng(picture);
}

/**
 * Gives QEMU an open file through its monitor: QMP's `getfd` with the descriptor as ancillary data of the message
 * (SCM_RIGHTS, unix(7)). Node cannot send descriptors, so sendmsg(2) is called through koffi; see
 * docs/decisions/0007-memory-through-a-file.md. The file keeps its name in that monitor until it is used, also
 * for later clients of it.
 */
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { constants } from 'node:os';
import { connectUnix, PrimaError, ProtocolError, RemoteError, toPrimaError, withDeadline } from '@prima/base';

const timeoutMs = 15_000;

type Sender = (socketFd: number, bytes: Buffer, fileFd: number) => void;

/**
 * Passes `file` to the monitor at `socketPath`, which nobody else may be connected to; QEMU then knows it as
 * `name` (a name that is taken passes to the new file). Our handle may be closed afterwards.
 * Raises `unsupported` where the C library cannot be called, `timeout`, `remote`, `protocol`.
 */
export async function passFile(socketPath: string, name: string, file: FileHandle): Promise<void> {
  const send = await sender();
  const socket = await connectUnix(socketPath, { timeoutMs });
  try {
    await withDeadline(timeoutMs, `passing a file to the monitor at ${socketPath}`, async (signal) => {
      const answers = lines(socket.setEncoding('utf8'));
      const answer = async (wanted: string) => {
        for (let next = await answers.next(); !next.done; next = await answers.next()) {
          const message = JSON.parse(next.value) as { error?: { desc?: string } } & Record<string, unknown>;
          if (message.error) throw new RemoteError(`QEMU took no file: ${message.error.desc ?? next.value}`);
          if (wanted in message) return;
        }
        throw new ProtocolError(`the monitor at ${socketPath} ended before it answered`);
      };
      signal.addEventListener('abort', () => socket.destroy(), { once: true });
      await answer('QMP');
      socket.write(`${JSON.stringify({ execute: 'qmp_capabilities' })}\n`);
      await answer('return');
      const command = JSON.stringify({ execute: 'getfd', arguments: { fdname: name } });
      send(descriptorOf(socket), Buffer.from(`${command}\n`), file.fd);
      await answer('return');
    });
  } catch (error) {
    throw toPrimaError(error, `passing a file to the monitor at ${socketPath}`);
  } finally {
    socket.destroy();
    if (!socket.closed) await once(socket, 'close');
  }
}

/** Lines of a stream that stays open between them. */
async function* lines(stream: AsyncIterable<unknown>): AsyncGenerator<string> {
  let rest = '';
  for await (const piece of stream) {
    const parts = (rest + String(piece)).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line.trim() !== '') yield line;
  }
}

/** Node keeps a socket's descriptor in its handle (net.Socket, libuv's Pipe). */
function descriptorOf(socket: object): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle ? Reflect.get(handle, 'fd') : undefined;
  if (typeof fd === 'number' && fd >= 0) return fd;
  throw new PrimaError('unsupported', 'this Node does not tell the descriptor of a socket');
}

let loaded: Promise<Sender> | undefined;

function sender(): Promise<Sender> {
  loaded ??= load().catch((error: unknown) => {
    const { message } = toPrimaError(error, 'loading koffi');
    throw new PrimaError(
      'unsupported',
      `memory cannot be saved: the C library cannot be called (${message})`,
      {
        cause: error,
      },
    );
  });
  return loaded;
}

/** sys/socket.h of Linux, 64 bits: cmsghdr is a length u64, a level u32 and a type u32, then the descriptor. */
const controlBytes = 24;
const controlLength = 20;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

async function load(): Promise<Sender> {
  const { default: koffi } = await import('koffi');
  const vector = koffi.struct({ iov_base: 'void *', iov_len: 'uint64_t' });
  const message = koffi.struct({
    msg_name: 'void *',
    msg_namelen: 'uint32_t',
    msg_iov: koffi.pointer(vector),
    msg_iovlen: 'uint64_t',
    msg_control: 'void *',
    msg_controllen: 'uint64_t',
    msg_flags: 'int',
  });
  const sendmsg = koffi
    .load('libc.so.6')
    .func('sendmsg', 'int64_t', ['int', koffi.pointer(message), 'int']) as (
    fd: number,
    message: object,
    flags: number,
  ) => number;
  return (socketFd, bytes, fileFd) => {
    const control = Buffer.alloc(controlBytes);
    control.writeBigUInt64LE(BigInt(controlLength), 0);
    control.writeInt32LE(SOL_SOCKET, 8);
    control.writeInt32LE(SCM_RIGHTS, 12);
    control.writeInt32LE(fileFd, 16);
    const sent = sendmsg(
      socketFd,
      {
        msg_name: null,
        msg_namelen: 0,
        msg_iov: [{ iov_base: bytes, iov_len: bytes.length }],
        msg_iovlen: 1,
        msg_control: control,
        msg_controllen: controlBytes,
        msg_flags: 0,
      },
      0,
    );
    if (sent === bytes.length) return;
    const code = Object.entries(constants.errno).find(([, number]) => number === koffi.errno())?.[0];
    throw new PrimaError('io', `sendmsg: sent ${sent} of ${bytes.length} bytes (${code ?? koffi.errno()})`);
  };
}

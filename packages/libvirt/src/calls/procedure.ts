/** How a call is written down: its program, its number, what is sent and what comes back. */
import { type Codec, type Fields, type ReadFields, struct, type WrittenFields } from '../xdr.ts';

/** Program numbers (remote_protocol.x, qemu_protocol.x, virkeepaliveprotocol.x of libvirt). All have version 1. */
export const programs = { remote: 0x20008086, qemu: 0x20008087, keepalive: 0x6b656570 } as const;

export interface Procedure<Args, Reply> {
  readonly program: number;
  readonly number: number;
  readonly args: Codec<unknown, Args>;
  readonly reply: Codec<Reply, never>;
  /** The call opens a stream: `source` from the daemon, `sink` to it. */
  readonly stream?: 'source' | 'sink' | 'both';
}

/** A call of the program "remote"; names and order of the fields as in remote_protocol.x. */
export function remote<A extends Fields, R extends Fields>(
  number: number,
  args: A,
  reply: R,
): Procedure<WrittenFields<A>, ReadFields<R>> {
  return { program: programs.remote, number, args: struct(args), reply: struct(reply) };
}

/** A call of the program "remote" that opens a stream. */
export function remoteStream<A extends Fields, R extends Fields, S extends 'source' | 'sink' | 'both'>(
  number: number,
  stream: S,
  args: A,
  reply: R,
): Procedure<WrittenFields<A>, ReadFields<R>> & { readonly stream: S } {
  return { ...remote(number, args, reply), stream };
}

/** A call of the program "qemu". */
export function qemu<A extends Fields, R extends Fields>(
  number: number,
  args: A,
  reply: R,
): Procedure<WrittenFields<A>, ReadFields<R>> {
  return { ...remote(number, args, reply), program: programs.qemu };
}

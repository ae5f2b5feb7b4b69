/** What a libvirt daemon may send: messages, however they are cut, and the replies and events in them. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { PrimaError } from '@prima/base';
import { domainEvents, monitorEvent } from '../../packages/libvirt/src/calls/events.ts';
import { calls } from '../../packages/libvirt/src/calls/table.ts';
import type { TypedParam } from '../../packages/libvirt/src/calls/types.ts';
import { errorMessage } from '../../packages/libvirt/src/errors.ts';
import { MessageStatus, MessageType, writeMessage } from '../../packages/libvirt/src/message.ts';
import { fakeDaemon } from '../../packages/libvirt/src/testing.ts';
import { type Codec, decode, encode } from '../../packages/libvirt/src/xdr.ts';
import { mutate } from '@prima/testbed';
import type { FuzzTarget } from './targets.ts';

const dom = { name: 'wëb', uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8', id: 3 };
const params: TypedParam[] = [
  { field: 'a', type: 'int', value: -1 },
  { field: 'b', type: 'ullong', value: 2n ** 64n - 1n },
  { field: 'c', type: 'double', value: 0.5 },
  { field: 'd', type: 'boolean', value: true },
  { field: 'e', type: 'string', value: 'f' },
];

type AnyCodec = Codec<unknown, never>;

/** Everything that is read, and a value for each that is written first. */
const samples: readonly (readonly [codec: AnyCodec, value: unknown])[] = [
  [calls.domainGetXmlDesc.reply, { xml: '<domain/>' }],
  [calls.connectListAllDomains.reply, { domains: [dom, dom], count: 2 }],
  [calls.connectGetAllDomainStats.reply, { records: [{ dom, params }] }],
  [calls.domainGetBlockIoTune.reply, { params, paramCount: params.length }],
  [calls.domainGetBlockInfo.reply, { allocation: 1, capacity: 2 ** 40, physical: 3 }],
  [
    calls.domainGetFsInfo.reply,
    { info: [{ mountpoint: '/', name: 'vda1', fstype: 'ext4', disks: ['vda'] }], count: 1 },
  ],
  [
    calls.domainInterfaceAddresses.reply,
    { interfaces: [{ name: 'lo', hwaddr: undefined, addresses: [{ type: 0, address: '::1', prefix: 8 }] }] },
  ],
  [calls.domainListAllCheckpoints.reply, { checkpoints: [{ name: 'c', dom }], count: 1 }],
  [calls.secretGetValue.reply, { value: Uint8Array.of(1, 2, 3) }],
  [domainEvents.blockThreshold.message, { callbackId: 1, dom, device: 'vda', threshold: 4, excess: 5 }],
  [domainEvents.jobCompleted.message, { callbackId: 1, dom, params }],
  [monitorEvent.message, { callbackId: 2, dom, event: 'STOP', seconds: 1, micros: 2, details: '{}' }],
  [errorMessage, { code: 42, domain: 10, message: 'm', level: 2, dom, int1: 1, int2: 2 }],
];
const codecs = [
  ...samples.map(([codec]) => codec),
  ...Object.values(calls)
    .filter((call) => call !== calls.nodeGetInfo) // has a part that is only read
    .map(({ reply }) => reply as AnyCodec),
];
const payloads = samples.map(([codec, value]) => encode(codec, value as never));

/** The right codec half the time, so that deep fields are reached; what is read is written the same way. */
const readReply: FuzzTarget = {
  input: (random) => {
    const index = random.below(payloads.length);
    const which = random.below(2) === 0 ? index : random.below(codecs.length);
    const head = Buffer.alloc(2);
    head.writeUInt16BE(which);
    return Buffer.concat([head, mutate(random, payloads[index] ?? Buffer.alloc(0), payloads)]);
  },
  read: (input) => {
    const codec = codecs[input.readUInt16BE(0)] ?? errorMessage;
    const value = decode(codec, input.subarray(2));
    assert.deepEqual(decode(codec, encode(codec, value as never)), value);
  },
};

const of = { program: 0x20008086, procedure: 209, serial: 1 };
const conversation = Buffer.concat([
  writeMessage({ ...of, type: MessageType.STREAM, status: MessageStatus.CONTINUE }, Buffer.from('first')),
  writeMessage({ ...of, type: MessageType.REPLY, status: MessageStatus.OK }, Buffer.alloc(0)),
  writeMessage({ ...of, type: MessageType.STREAM, status: MessageStatus.CONTINUE }, Buffer.from('second')),
  writeMessage(
    { ...of, type: MessageType.STREAM_HOLE, status: MessageStatus.CONTINUE },
    Buffer.from('000000000000100000000000', 'hex'),
  ),
  writeMessage(
    { program: 0x6b656570, procedure: 1, serial: 0, type: MessageType.EVENT, status: 0 },
    Buffer.alloc(0),
  ),
  writeMessage(
    { ...of, procedure: 59, serial: 2, type: MessageType.REPLY, status: 0 },
    Buffer.from('0000000161000000', 'hex'),
  ),
  writeMessage({ ...of, type: MessageType.STREAM, status: MessageStatus.CONTINUE }, Buffer.alloc(0)),
  writeMessage({ ...of, type: MessageType.STREAM, status: MessageStatus.OK }, Buffer.alloc(0)),
]);

/** A download and a call with a daemon that says nearly the right thing, then nothing more. */
const readConversation: FuzzTarget = {
  input: (random) => mutate(random, conversation, [conversation]),
  read: async (input, random) => {
    const daemon = fakeDaemon();
    const vol = { pool: 'p', name: 'v', key: 'k' };
    const [download, hostname] = ['storageVolDownload', 'connectGetHostname'] as const;
    const work = [
      (async () => {
        const stream = await daemon.rpc.openStream({
          name: download,
          procedure: calls[download],
          args: { vol },
        });
        for await (const piece of stream.pieces())
          assert.ok('data' in piece || Number.isSafeInteger(piece.holeBytes));
      })(),
      daemon.rpc.call({ name: hostname, procedure: calls[hostname], args: {} }),
    ];
    const settled = Promise.allSettled(work);
    for (let at = 0; at < input.length; ) {
      const end = at + 1 + random.below(60);
      daemon.end.write(input.subarray(at, end));
      at = end;
    }
    await setImmediate();
    daemon.end.end();
    for (const result of await settled) {
      if (result.status === 'rejected' && !(result.reason instanceof PrimaError)) throw result.reason;
    }
    await daemon.rpc.close();
  },
};

export const libvirtTargets = {
  'libvirt-replies': () => readReply,
  'libvirt-messages': () => readConversation,
};

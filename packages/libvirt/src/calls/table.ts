/** Every call that the client knows, by its name. A guide for adding one: docs/guides/add-a-libvirt-call.md. */
import { connectCalls } from './connect.ts';
import { domainDiskCalls } from './domain-disks.ts';
import { domainCalls } from './domains.ts';
import { hostCalls } from './host.ts';
import type { Procedure } from './procedure.ts';
import { qemuCalls } from './qemu.ts';
import { snapshotCalls } from './snapshots.ts';
import { storageCalls } from './storage.ts';

export const calls = {
  ...connectCalls,
  ...domainCalls,
  ...domainDiskCalls,
  ...snapshotCalls,
  ...storageCalls,
  ...hostCalls,
  ...qemuCalls,
};

type Calls = typeof calls;
/** Calls that are answered and done. */
export type CallName = {
  [N in keyof Calls]: Calls[N] extends { readonly stream: string } ? never : N;
}[keyof Calls];
/** Calls that open a stream. */
export type StreamCallName = Exclude<keyof Calls, CallName>;
export type CallArgs<N extends keyof Calls> =
  Calls[N] extends Procedure<infer Args, infer _Reply> ? Args : never;
export type CallReply<N extends keyof Calls> =
  Calls[N] extends Procedure<infer _Args, infer Reply> ? Reply : never;

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { moduleOrder } from './modules.ts';

const dependencies = `kernel/a/virtio_ring.ko:
kernel/a/virtio.ko: kernel/a/virtio_ring.ko
kernel/b/virtio-rng.ko.xz: kernel/a/virtio.ko kernel/a/virtio_ring.ko
kernel/b/virtio_blk.ko: kernel/a/virtio.ko kernel/a/virtio_ring.ko
`;

test('what is needed comes first, once, and what is built in not at all', () => {
  assert.deepEqual(
    moduleOrder(['virtio_rng', 'ext4', 'virtio_blk'], dependencies, 'kernel/fs/ext4/ext4.ko\n'),
    ['kernel/a/virtio_ring.ko', 'kernel/a/virtio.ko', 'kernel/b/virtio-rng.ko.xz', 'kernel/b/virtio_blk.ko'],
  );
});

test('a module that does not exist is an error', () => {
  assert.throws(() => moduleOrder(['virtio_fs'], dependencies, ''), { code: 'format', message: /virtio_fs/ });
});

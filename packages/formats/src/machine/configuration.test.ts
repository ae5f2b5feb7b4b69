import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzRun } from '@prima/testbed';
import { configurationDialects, readConfiguration, writeConfiguration } from './configuration.ts';
import { randomDescription } from './description-fixture.ts';

test('what is written in a dialect is known for it, whatever its name', () => {
  const { seed, random } = fuzzRun(20);
  for (let round = 0; round < 20; round += 1) {
    const description = randomDescription(random);
    for (const dialect of configurationDialects) {
      const { result } = writeConfiguration(description, dialect, { folder: '/m' });
      const read = readConfiguration(Buffer.from(result), 'x.txt');
      assert.equal(read.dialect, dialect, `seed ${seed}, round ${round}`);
      assert.equal(read.disksBySlot.size, read.result.disks.length, `seed ${seed}, round ${round}`);
    }
  }
});

test('scripts, comments and byte order marks', () => {
  const dialectOf = (text: string | Buffer) => readConfiguration(Buffer.from(text), 'x').dialect;
  assert.equal(
    dialectOf('#!/bin/sh\n# starts it\nexec qemu-system-x86_64 \\\n  -m 512 -hda a.raw\n'),
    'qemu',
  );
  assert.equal(dialectOf('-m 512'), 'qemu');
  assert.equal(
    dialectOf('\uFEFF<?xml version="1.0"?><domain><name>a</name><memory>1</memory></domain>'),
    'libvirt',
  );
  assert.equal(
    dialectOf(Buffer.from('\uFEFF<domain><name>a</name><memory>1</memory></domain>', 'utf16le')),
    'libvirt',
  );
  assert.equal(dialectOf('#!/usr/bin/vmware\nmemsize = 512\n'), 'vmx');
  const virtio = readConfiguration(
    Buffer.from('memsize = "1"\nscsi0.virtualDev = "virtio-blk"\nscsi0:0.fileName = "a.raw"\n'),
    'x',
  );
  assert.deepEqual([...virtio.disksBySlot.keys()], ['scsi0:0']);
  assert.equal(virtio.disksBySlot.get('scsi0:0'), virtio.result.disks[0]);
});

test('what is no configuration is refused with what was looked for', () => {
  const refused = (text: string, name: string, message: RegExp) =>
    assert.throws(() => readConfiguration(Buffer.from(text), name), { code: 'format', message });
  refused('hello', 'notes.txt', /notes\.txt is no machine's configuration: neither \.vmx/);
  refused('', 'x', /is no machine's configuration/);
  refused('a = "b"\n', 'x', /is no machine's configuration/);
  refused('<pool/>', 'x', /the root is <pool>/);
  refused('displayName', 'x.vmx', /line 1/);
  refused(' '.repeat(4 * 1024 * 1024 + 1), 'big', /4194305 bytes/);
});

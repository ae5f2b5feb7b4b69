/** Damaged and invented configurations: every reader refuses them with a format error, or reads and writes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { fuzzRun, mutate } from '@prima/testbed';
import { writeXml, parseXml } from '@prima/xml';
import { readDomain } from '../libvirt/read-domain.ts';
import { writeDomain } from '../libvirt/write-domain.ts';
import { parseManifest, writeManifest } from '../ovf/manifest.ts';
import { ovirt, virtualBox, vmware } from '../ovf/ovf-fixture.ts';
import { readOvf } from '../ovf/read-ovf.ts';
import { writeOvf } from '../ovf/write-ovf.ts';
import { joinCommand, splitCommand } from '../qemu-arguments/command-text.ts';
import { readQemuArguments } from '../qemu-arguments/read-arguments.ts';
import { writeQemuArguments } from '../qemu-arguments/write-arguments.ts';
import { readVmxDescription } from '../vmx/read-description.ts';
import { parseVmx, writeVmx } from '../vmx/vmx.ts';
import { writeVmxDescription } from '../vmx/write-description.ts';
import { randomDescription } from './description-fixture.ts';

/** Runs `read` on what became of one of `valid`; anything but a format error is a failure. */
function fuzz(valid: readonly string[], rounds: number, read: (bytes: Buffer) => void): void {
  const run = fuzzRun(rounds);
  const originals = valid.map((text) => Buffer.from(text));
  for (let round = 0; round < run.rounds; round += 1) {
    const original = originals[run.random.below(originals.length)] ?? Buffer.alloc(0);
    const bytes = mutate(run.random, original, originals);
    try {
      read(bytes);
    } catch (error) {
      const isFormat = error instanceof PrimaError && error.code === 'format';
      assert.ok(isFormat, `seed ${run.seed}, round ${round}: ${String(error)}\n${bytes.toString('utf8')}`);
    }
  }
}

const descriptions = (count: number) => {
  const { random } = fuzzRun(count);
  return Array.from({ length: count }, () => randomDescription(random));
};

test('.vmx files', () => {
  const valid = descriptions(20).map((description) =>
    writeVmx(writeVmxDescription(description, { flavour: 'plain-qemu' }).result),
  );
  fuzz(valid, 1500, (bytes) => {
    const over = parseVmx(bytes);
    const { result } = readVmxDescription(over, 'x');
    writeVmxDescription(result, { flavour: 'vmware', over });
  });
});

test('libvirt domains', () => {
  const valid = descriptions(20).map((description) => writeXml(writeDomain(description).result));
  fuzz(valid, 1500, (bytes) => {
    const over = parseXml(bytes, 'x');
    const { result } = readDomain(over);
    writeXml(writeDomain({ ...result, name: 'y', nics: [] }, { over }).result);
  });
});

test('QEMU command lines', () => {
  const valid = [
    ...descriptions(20).map((description) => joinCommand(writeQemuArguments(description).result)),
    `-blockdev '{"driver":"raw","node-name":"d","file":{"driver":"file","filename":"x"}}' -device ide-hd,drive=d`,
    '-hda x -cdrom y -net nic -net user -nic tap,model=e1000 -serial file:z -vnc :1 -smp 4,sockets=2 -boot dc',
    '-blockdev raw,node-name=a,file=b -blockdev raw,node-name=b,file=a -device scsi-hd,drive=a',
  ];
  fuzz(valid, 2000, (bytes) => {
    const { result } = readQemuArguments(splitCommand(bytes.toString('latin1')), 'x');
    writeQemuArguments(result);
  });
});

test('OVF envelopes', () => {
  const written = descriptions(20).map((description) => writeXml(writeOvf(description).result.document));
  fuzz([vmware, virtualBox, ovirt, ...written], 2000, (bytes) => {
    const keep = parseXml(bytes, 'x');
    const { result } = readOvf(keep);
    writeXml(writeOvf(result, { keep }).result.document);
  });
});

test('OVF manifests', () => {
  const digest = 'ab'.repeat(32);
  const valid = [
    `SHA256(a.ovf)= ${digest}\nSHA1 (b c) = ${'0'.repeat(40)}\n`,
    `SHA512(x)=${digest}${digest}\r\n`,
  ];
  fuzz(valid, 2000, (bytes) => {
    const entries = parseManifest(bytes);
    assert.deepEqual(parseManifest(writeManifest(entries)), entries);
  });
});

test('what parses as XML is written, and parses again', () => {
  const valid = [
    '<?xml version="1.0"?><a:b xmlns:a="urn:x" c="d&lt;"><!-- e --><f/>g<![CDATA[h]]><?i j?></a:b>',
    ...descriptions(3).map((description) => writeXml(writeDomain(description).result)),
  ];
  fuzz(valid, 3000, (bytes) => {
    const written = writeXml(parseXml(bytes, 'x'));
    assert.equal(writeXml(parseXml(written, 'x')), written);
  });
});

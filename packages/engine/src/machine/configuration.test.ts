import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { measureMember, newDescription, writeOva, writeOvf } from '@prima/formats';
import { temporaryFolder } from '@prima/testbed';
import { configurationOfFile, showConfiguration } from './configuration.ts';

const vmx = 'displayName = "web"\nmemsize = "512"\nscsi0:0.fileName = "web.vmdk"\nfloppy0.present = "TRUE"\n';

test('a file is what its content says, and is shown in other words with what they lack', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'configuration.txt');
  await writeFile(path, vmx);
  const found = await configurationOfFile(path);
  assert.equal(found.read.dialect, 'vmx');
  assert.equal(showConfiguration(found, 'vmx').text, vmx);
  assert.deepEqual(showConfiguration(found, 'vmx').notRead, []);
  const domain = showConfiguration(found, 'libvirt');
  assert.ok(domain.text.includes(`<source file='${join(folder, 'web.vmdk')}'/>`), domain.text);
  assert.deepEqual(
    domain.notRead.map(({ where }) => where),
    ['floppy0.present'],
  );
  assert.ok(domain.notWritten.some(({ where }) => where === 'clock'));
  assert.deepEqual(JSON.parse(showConfiguration(found, 'json').text), found.read.result);
});

test('an OVA is its envelope', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'package');
  const { document } = writeOvf({ ...newDescription('two'), memoryBytes: 2 ** 29 }).result;
  const member = await measureMember({ name: 'a.vmdk', open: () => Readable.from([Buffer.alloc(4000)]) });
  await writeFile(path, writeOva({ name: 'two', document, members: [member] }));
  const found = await configurationOfFile(path);
  assert.equal(found.read.dialect, 'ovf');
  assert.equal(found.read.result.name, 'two');
  await assert.rejects(configurationOfFile(path, 'three'), { code: 'format', message: /0 machines/ });
});

test('what is none is refused: folders, disks, archives of something else', async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(configurationOfFile(folder), { code: 'usage', message: /is no file/ });
  await assert.rejects(configurationOfFile(join(folder, 'x')), { code: 'not-found' });
  const disk = join(folder, 'disk');
  await writeFile(disk, Buffer.alloc(5 * 1024 * 1024));
  await assert.rejects(configurationOfFile(disk), { code: 'format', message: /too large/ });
  await writeFile(disk, Buffer.alloc(512));
  await assert.rejects(configurationOfFile(disk), {
    code: 'format',
    message: /is no machine's configuration/,
  });
});

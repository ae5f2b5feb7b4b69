import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FormatError, GiB, IntegrityError, PrimaError, UserError } from '@prima/base';
import { fuzzRun, mutate } from '@prima/testbed';
import { randomDescription } from '../machine/description-fixture.ts';
import { compareManifest, parseManifest, writeManifest } from './manifest.ts';
import { measureMember, openOva, type OvaMember, spoolMember, writeOva } from './ova.ts';
import { readOvf } from './read-ovf.ts';
import { parseTarHeader, writePax, writeTarHeader } from './tar-header.ts';
import { readTar } from './tar-reader.ts';
import { writeTar } from './tar-writer.ts';
import { writeOvf } from './write-ovf.ts';

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** In pieces of 1 to `most` bytes. */
async function* inPieces(bytes: Uint8Array, most = 700): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 7) % most || 1) {
    yield bytes.subarray(at, at + step);
  }
}

async function readAll(bytes: Uint8Array): Promise<[name: string, text: string][]> {
  const found: [string, string][] = [];
  for await (const { name, body } of readTar(inPieces(bytes))) {
    found.push([name, (await collect(body)).toString('latin1')]);
  }
  return found;
}

const long = `${'ü'.repeat(60)}.vmdk`;
const members = [
  { name: 'a.ovf', size: 5, body: [Buffer.from('hello')] },
  { name: 'empty', size: 0, body: [] },
  { name: long, size: 1024, body: [Buffer.alloc(600, 1), Buffer.alloc(424, 2)] },
];

test('archives are read as they were written, in any pieces', async () => {
  const bytes = await collect(writeTar(members));
  assert.equal(bytes.length % 512, 0);
  assert.deepEqual(await readAll(bytes), [
    ['a.ovf', 'hello'],
    ['empty', ''],
    [long, '\x01'.repeat(600) + '\x02'.repeat(424)],
  ]);
  // What is not read is skipped, as is what ends without the blocks of zeros.
  const names: string[] = [];
  for await (const { name } of readTar(inPieces(bytes.subarray(0, -1024)))) names.push(name);
  assert.deepEqual(names, ['a.ovf', 'empty', long]);
});

test('sizes from 8 GiB', () => {
  for (const size of [8 * GiB - 1, 8 * GiB, 2 ** 50]) {
    const header = writeTarHeader({ name: 'x', size, type: '0', modified: 1 });
    assert.deepEqual(parseTarHeader(header, 0), { name: 'x', size, type: '0' });
  }
});

test('GNU and pax say long names and sizes in headers before', async () => {
  const pad = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);
  const file = (name: string, text: string, size = text.length) =>
    Buffer.concat([writeTarHeader({ name, size, type: '0', modified: 0 }), pad(Buffer.from(text))]);
  const before = (type: string, body: Buffer) =>
    Buffer.concat([writeTarHeader({ name: 'x', size: body.length, type, modified: 0 }), pad(body)]);
  const gnu = Buffer.concat([before('L', Buffer.from('gnu-name\0')), file('short', 'abc')]);
  const pax = Buffer.concat([
    before('g', writePax({ comment: 'all' })),
    before('x', writePax({ path: 'pax-name', size: '3', mtime: '1.5' })),
    file('short', 'def', 0).subarray(0, 512),
    pad(Buffer.from('def')),
  ]);
  assert.deepEqual(await readAll(Buffer.concat([gnu, pax, Buffer.alloc(1024)])), [
    ['gnu-name', 'abc'],
    ['pax-name', 'def'],
  ]);
});

test('names that lead elsewhere, folders, links and damage are refused', async () => {
  const one = (name: string, type = '0') => writeTarHeader({ name, size: 0, type, modified: 0 });
  for (const name of ['../x', '/etc/passwd', 'a/b', '..', '.', './', 'a\\b', '']) {
    await assert.rejects(readAll(one(name)), FormatError, name);
  }
  for (const type of ['1', '2', '3', '5', '6'])
    await assert.rejects(readAll(one('x', type)), FormatError, type);
  await assert.rejects(
    readAll(one('x').fill('a', 100, 101)),
    (error) => error instanceof FormatError && error.message.includes('checksum'),
  );
  const whole = await collect(writeTar(members));
  await assert.rejects(readAll(whole.subarray(0, 515)), /ends at byte 515, within a.ovf/);
  await assert.rejects(readAll(whole.subarray(0, 1100)), /within a header/);
  await assert.rejects(readAll(Buffer.from('no tar'.repeat(100))), FormatError);
});

test('a body that is not as long as was said stops the writing', async () => {
  for (const size of [4, 6]) {
    const wrong = [{ name: 'x', size, body: [Buffer.from('hello')] }];
    await assert.rejects(collect(writeTar(wrong)), IntegrityError);
  }
});

test('names that would not be read are not written', async () => {
  for (const name of ['', '..', 'a/b', 'a\\b', 'x'.repeat(256)]) {
    await assert.rejects(collect(writeTar([{ name, size: 0, body: [] }])), UserError, name);
  }
});

test('a manifest names the file that is wrong', () => {
  const digest = 'ab'.repeat(32);
  const text = `SHA256(a.ovf)= ${digest}\nSHA256(b.vmdk)= ${digest}\nSHA256(c.vmdk)= ${digest}\n`;
  const manifest = parseManifest(text);
  assert.equal(writeManifest(manifest), text);
  const findings = compareManifest(manifest, [
    { name: 'a.ovf', algorithm: 'sha256', digest },
    { name: 'b.vmdk', algorithm: 'sha256', digest: 'cd'.repeat(32) },
    { name: 'd.iso', algorithm: 'sha256', digest },
  ]);
  assert.deepEqual(
    findings.map(({ name, state }) => [name, state]),
    [
      ['a.ovf', 'right'],
      ['b.vmdk', 'wrong'],
      ['c.vmdk', 'missing'],
      ['d.iso', 'unlisted'],
    ],
  );
  assert.match(findings[1]?.text ?? '', /b\.vmdk has SHA256 cdcd.*the manifest says abab/);
  assert.equal(parseManifest(`SHA1 (x y.ovf) = ${'A'.repeat(40)}\r\n`)[0]?.digest, 'a'.repeat(40));
  for (const wrong of ['x', `MD5(a)= ${digest}`, 'SHA256(a)= ab', text + text]) {
    assert.throws(() => parseManifest(wrong), FormatError, wrong);
  }
});

const description = () => {
  const { random } = fuzzRun(1);
  const any = randomDescription(random);
  return {
    ...any,
    name: 'web',
    disks: any.disks.map((disk, at) => ({ ...disk, source: { kind: 'file' as const, location: `d${at}` } })),
  };
};

async function makeOva(): Promise<Buffer> {
  const { document, files } = writeOvf(description()).result;
  const made = files.map(({ name }): OvaMember => ({ name, open: () => inPieces(Buffer.alloc(1500, name)) }));
  return await collect(
    writeOva({ name: 'web', document, members: await Promise.all(made.map(measureMember)) }),
  );
}

test('an OVA has the envelope first, then the manifest, and says what is wrong with it', async () => {
  const bytes = await makeOva();
  const reading = await openOva(inPieces(bytes));
  assert.equal(reading.name, 'web.ovf');
  assert.equal(readOvf(reading.document).result.name, 'web');
  for await (const { body } of reading.files()) {
    for await (const _ of body) break; // the rest counts, too
  }
  const findings = reading.findings() ?? [];
  assert.ok(
    findings.length >= 5 && findings.every(({ state }) => state === 'right'),
    JSON.stringify(findings),
  );

  const at = bytes.lastIndexOf('d0d0d0');
  const damaged = Buffer.from(bytes);
  damaged[at] = 0;
  const again = await openOva(inPieces(damaged));
  for await (const { name } of again.files()) assert.notEqual(name, '');
  assert.deepEqual(
    again
      .findings()
      ?.filter(({ state }) => state !== 'right')
      .map(({ name, state }) => [name, state]),
    [['d0', 'wrong']],
  );
});

test('what is no OVA is refused', async () => {
  const other = await collect(writeTar([{ name: 'x.vmdk', size: 0, body: [] }]));
  await assert.rejects(openOva(inPieces(other)), /"x.vmdk" where the .ovf file was expected/);
  await assert.rejects(openOva(inPieces(Buffer.alloc(0))), /an empty archive/);
});

test('files of unknown size: read twice, or spooled', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const { document } = writeOvf({ ...description(), cdroms: [] }).result;
  const spooled = await spoolMember('d0', inPieces(Buffer.from('spooled')), folder);
  assert.deepEqual([spooled.size, (await readdir(folder)).length], [7, 1]);
  let turn = 0;
  const fickle = await measureMember({ name: 'd1', open: () => inPieces(Buffer.from(`turn ${turn++}`)) });
  const bytes = await collect(writeOva({ name: 'web', document, members: [spooled] }));
  assert.ok(bytes.includes('spooled'));
  await assert.rejects(
    collect(writeOva({ name: 'web', document, members: [fickle] })),
    (error) => error instanceof IntegrityError && error.message.includes('d1 gave other bytes'),
  );
});

test('damaged archives raise nothing but a format error', async () => {
  const run = fuzzRun(600);
  const valid = [await makeOva(), await collect(writeTar(members))];
  for (let round = 0; round < run.rounds; round += 1) {
    const bytes = mutate(run.random, valid[round % 2] ?? Buffer.alloc(0), valid);
    try {
      const reading = await openOva(inPieces(bytes, 5000));
      for await (const { body, size } of reading.files()) assert.ok((await collect(body)).length === size);
      reading.findings();
      readOvf(reading.document);
    } catch (error) {
      const isFormat = error instanceof PrimaError && error.code === 'format';
      assert.ok(isFormat, `seed ${run.seed}, round ${round}: ${String(error)}`);
    }
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, PrimaError, seededRandom } from '@prima/base';
import { canonicalCreateType } from './create-types.ts';
import { parseDescriptor, type VmdkDescriptor } from './descriptor.ts';
import {
  changeDescriptor,
  newCid,
  newDescriptor,
  replaceExtents,
  withCid,
  withoutChangeTracking,
  writeDescriptor,
} from './descriptor-write.ts';

const esx = `# Disk DescriptorFile
version=3
encoding="UTF-8"
CID=1a2b3c4d
parentCID=ffffffff
isNativeSnapshot="no"
createType="vmfs"

# Extent description
RW 409600 VMFS "thin-flat.vmdk"

# Change Tracking File
changeTrackPath="thin-ctk.vmdk"

# The Disk Data Base 
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "25"
ddb.longContentID = "0123456789abcdef012345671a2b3c4d"
ddb.somethingNew = "  kept  "
ddb.thinProvisioned = "1"
some unknown line
`;

const parse = (text: string): VmdkDescriptor => parseDescriptor(Buffer.from(text, 'latin1'));
const written = (descriptor: VmdkDescriptor): string => writeDescriptor(descriptor).toString('latin1');

test('what ESX writes is understood, and written as it was', () => {
  const descriptor = parse(esx);
  assert.equal(descriptor.version, 3);
  assert.equal(descriptor.cid, 0x1a2b3c4d);
  assert.equal(descriptor.parentCid, undefined);
  assert.equal(descriptor.createType, 'vmfs');
  assert.equal(descriptor.changeTrackPath, 'thin-ctk.vmdk');
  assert.deepEqual(descriptor.extents, [
    { access: 'RW', sectors: 409_600, type: 'VMFS', file: 'thin-flat.vmdk', offset: 0 },
  ]);
  assert.equal(descriptor.ddb.get('adaptertype'), 'lsilogic');
  assert.equal(descriptor.ddb.get('somethingnew'), '  kept  ');
  assert.equal(written(descriptor), esx);
  assert.equal(written(parse(esx.replaceAll('\n', '\r\n'))), esx.replaceAll('\n', '\r\n'));
  assert.equal(written(parse(esx.slice(0, -1))), esx.slice(0, -1));
  assert.equal(written(parse(`${esx}\0\0\0 what is behind`)), esx);
});

test('a restored disk has no change tracking; everything else stays', () => {
  const restored = withoutChangeTracking(parse(esx));
  assert.equal(
    written(restored),
    esx
      .replace('version=3', 'version=1')
      .replace('# Change Tracking File\nchangeTrackPath="thin-ctk.vmdk"\n', ''),
  );
  assert.equal(restored.changeTrackPath, undefined);
});

test('a change of content is a new CID, in the long one too', () => {
  const changed = withCid(parse(esx), 0xabc);
  assert.equal(
    written(changed),
    esx.replace('CID=1a2b3c4d', 'CID=00000abc').replace(/1a2b3c4d(?=")/, '00000abc'),
  );
  const random = { uint32: [0xfffffffe, 0xffffffff, 5, 6], at: 0 };
  const source = { ...seededRandom(1), uint32: () => random.uint32[random.at++] ?? 0 };
  assert.equal(newCid(source, 5), 6);
});

test('any case and spacing is read; canonical spelling is written', () => {
  const text =
    '  # DISK descriptorfile\nVERSION = 1\ncid = AB\nPARENTCID=FFFFFFFF\ncreatetype = "2GBMAXEXTENTFLAT"\n' +
    'rw 100 flat "a-f001.vmdk" 5\n\n\nrdonly 50 Zero\nDDB.AdapterType="ide"\n';
  const descriptor = parse(text);
  assert.equal(descriptor.createType, 'twoGbMaxExtentFlat');
  assert.equal(descriptor.cid, 0xab);
  assert.equal(descriptor.ddb.get('adaptertype'), 'ide');
  assert.deepEqual(descriptor.extents, [
    { access: 'RW', sectors: 100, type: 'FLAT', file: 'a-f001.vmdk', offset: 5 },
    { access: 'RDONLY', sectors: 50, type: 'ZERO', offset: 0 },
  ]);
  assert.equal(
    written(descriptor),
    '  # DISK descriptorfile\nversion = 1\nCID = AB\nparentCID=FFFFFFFF\ncreateType = "2GBMAXEXTENTFLAT"\n' +
      'RW 100 FLAT "a-f001.vmdk" 5\n\n# Extent description\nRDONLY 50 ZERO\nDDB.AdapterType="ide"\n',
  );
  const blank = parse(esx.replace('# Extent description\n', '# Extent description\n\n\n'));
  assert.equal(written(blank), esx);
});

test('partitions of devices', () => {
  const { extents } = parse(
    '# Disk DescriptorFile\ncreateType="partitionedDevice"\nRW 63 FLAT "a-pt.vmdk" 0\n' +
      'RW 8192 FLAT "/dev/sdb" 2048 "52 fe" "id 1"\nNOACCESS 64 ZERO\n',
  );
  assert.deepEqual(extents[1], {
    access: 'RW',
    sectors: 8192,
    type: 'FLAT',
    file: '/dev/sdb',
    offset: 2048,
    partitionUuid: '52 fe',
    deviceId: 'id 1',
  });
  assert.equal(extents[2]?.access, 'NOACCESS');
});

test('every createType in every spelling', () => {
  const spellings: [string, string][] = [
    ['2GbMaxExtentSparse', 'twoGbMaxExtentSparse'],
    ['vmfsSeSparse', 'seSparse'],
    ['SESPARSE', 'seSparse'],
    ['vmfsRDM', 'vmfsRawDeviceMap'],
    ['vmfsRDMP', 'vmfsPassthroughRawDeviceMap'],
    ['vmfseagerzeroedthick', 'vmfsEagerZeroedThick'],
  ];
  for (const [text, canonical] of spellings) assert.equal(canonicalCreateType(text), canonical);
  assert.equal(canonicalCreateType('qcow2'), undefined);
});

test('encodings are found in the file; what is new beyond ASCII is written in UTF-8', () => {
  const head = (encoding: string) => `# Disk DescriptorFile\nencoding="${encoding}"\ncreateType="vmfs"\n`;
  const cases: [string, number[], string][] = [
    ['windows-1252', [0xe9, 0x80], 'é€'],
    ['GBK', [0xc4, 0xe3], '你'],
    ['Big5', [0xa7, 0x41], '你'],
    ['Shift_JIS', [0x93, 0xfa], '日'],
    ['UTF-8', [0xc3, 0xa9], 'é'],
  ];
  for (const [encoding, bytes, text] of cases) {
    const line = `RW 8 VMFS "${String.fromCharCode(...bytes)}-flat.vmdk"\n`;
    const descriptor = parse(head(encoding) + line);
    assert.equal(descriptor.extents[0]?.file, `${text}-flat.vmdk`, encoding);
    assert.equal(written(descriptor), head(encoding) + line);
    const changed = changeDescriptor(descriptor, { 'ddb.comment': 'ü' });
    assert.equal(changed.extents[0]?.file, `${text}-flat.vmdk`);
    assert.equal(changed.ddb.get('comment'), 'ü');
    assert.equal(changed.encoding, 'UTF-8');
  }
  const old = '# Disk DescriptorFile\ncreateType="vmfs"\nRW 8 VMFS "\xe9.vmdk"\n';
  assert.equal(parse(old).extents[0]?.file, 'é.vmdk');
  assert.throws(() => parse(head('klingon') + old), FormatError);
  assert.equal(parse(head('klingon')).encoding, 'klingon');
});

test('a new descriptor, and one with other extents', () => {
  const fresh = newDescriptor({
    cid: 7,
    createType: 'vmfsSparse',
    parentCid: 0x1a2b3c4d,
    parentFileNameHint: 'base.vmdk',
    extents: [{ access: 'RW', sectors: 8, type: 'VMFSSPARSE', file: 'ä-delta.vmdk', offset: 0 }],
    ddb: { adapterType: 'lsilogic', virtualHWVersion: 4 },
  });
  assert.equal(
    writeDescriptor(fresh).toString(),
    '# Disk DescriptorFile\nversion=1\nencoding="UTF-8"\nCID=00000007\nparentCID=1a2b3c4d\ncreateType="vmfsSparse"\n' +
      'parentFileNameHint="base.vmdk"\n\n# Extent description\nRW 8 VMFSSPARSE "ä-delta.vmdk"\n\n# The Disk Data Base\n' +
      '#DDB\n\nddb.adapterType = "lsilogic"\nddb.virtualHWVersion = "4"\n',
  );
  const other = replaceExtents(parse(esx), [
    { access: 'RW', sectors: 1, type: 'FLAT', file: 'a.vmdk', offset: 0 },
    { access: 'RW', sectors: 2, type: 'ZERO', offset: 0 },
  ]);
  assert.equal(
    written(other),
    esx.replace('RW 409600 VMFS "thin-flat.vmdk"\n', 'RW 1 FLAT "a.vmdk" 0\nRW 2 ZERO\n'),
  );
  assert.throws(() => changeDescriptor(fresh, { parentFileNameHint: 'a"b' }), /cannot be/);
});

test('what is no descriptor raises a format error with the offset', () => {
  const start = '# Disk DescriptorFile\ncreateType="vmfs"\n';
  const cases: [string, number][] = [
    ['', 0],
    ['# Something else\n', 0],
    ['# Disk DescriptorFile\n', 0],
    ['# Disk DescriptorFile\ncreateType="x"\n', 22],
    [`${start}CID=xyz\n`, 40],
    [`${start}CID=123456789\n`, 40],
    [`${start}version=none\n`, 40],
    [`${start}RW x FLAT "a" 0\n`, 40],
    [`${start}RW 99999999999999999 FLAT "a" 0\n`, 40],
    [`${start}RW 9000000000000000 FLAT "a" 0\n`, 40],
    [`${start}RW 8 FLAT\n`, 40],
    [`${start}RW 8 QCOW "a"\n`, 40],
    [`${start}RW 8 FLAT "a" -1\n`, 40],
    [`${start}RW 8796093022208 FLAT "a" 0\nRW 1 FLAT "a" 0\n`, 0],
    [`${start}${'x'.repeat(9000)}\n`, 40],
    [`${start}${'RW 1 ZERO\n'.repeat(65_537)}`, 40 + 65_536 * 10],
    [`${start}${'#\n'.repeat(3 * 1024 * 1024)}`, 0],
  ];
  for (const [text, offset] of cases) {
    assert.throws(
      () => parse(text),
      (error) => error instanceof FormatError && error.details.offset === offset,
      text.slice(0, 80),
    );
  }
  assert.throws(
    () => parse(`${start}version=4\n`),
    (error) => error instanceof PrimaError && error.code === 'unsupported',
  );
});

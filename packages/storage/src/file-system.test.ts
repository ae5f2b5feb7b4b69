import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { isNear, mountOptions, networkKind, settleMsOf } from './file-system.ts';

const mountinfo = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
90 22 0:50 / /srv rw - ext4 /dev/sdb1 rw
91 90 0:51 / /srv/nas rw,relatime shared:50 - nfs4 nas:/export rw,vers=4.2,hard,proto=tcp,acdirmax=120
92 90 0:52 / /srv/a\\040space rw - nfs4 nas:/other rw,vers=4.2,noac
93 90 0:53 / /srv/plain rw - nfs nas:/third rw,vers=3,hard
94 90 0:54 / /srv/win rw - cifs //nas/share rw,vers=3.1.1,actimeo=1
`;
const probe = (type: number) => ({ type: async () => type, mounts: async () => mountinfo });
const NFS = 0x6969;

test('the settling time is above the cache of the mount that a folder is on', async () => {
  assert.equal(await settleMsOf('/srv/nas/prima', probe(NFS)), 125_000);
  assert.equal(await settleMsOf('/srv/nas', probe(NFS)), 125_000);
  assert.equal(await settleMsOf('/srv/a space/prima', probe(NFS)), 5000);
  assert.equal(await settleMsOf('/srv/plain', probe(NFS)), 65_000);
  assert.equal(await settleMsOf('/srv/nasty', probe(NFS)), 65_000, 'not the mount of a similar name');
  assert.equal(await settleMsOf('/srv/win/x', probe(0xfe534d42)), 6000);
  assert.equal(await settleMsOf('/srv/nas', probe(0xef53)), 0, 'a file system of this computer');
});

test('near is only what is known to be of this machine', async () => {
  for (const [type, expected] of [
    [0xef53, true],
    [0x58465342, true],
    [NFS, false],
    [0x00c36400, false],
  ] as const)
    assert.equal(await isNear('/srv', probe(type)), expected, type.toString(16));
});

test('the mount is the longest above the folder, the last of the same', () => {
  assert.equal(mountOptions(mountinfo, '/srv/nas/a').get('acdirmax'), '120');
  assert.equal(mountOptions(mountinfo, '/srv/nast').has('acdirmax'), false);
  const over = `${mountinfo}95 91 0:55 / /srv/nas rw - nfs4 other:/ rw,acdirmax=3\n`;
  assert.equal(mountOptions(over, '/srv/nas/a').get('acdirmax'), '3');
});

test('the folder of temporary files here is on no network', async () => {
  assert.equal(await networkKind(tmpdir()), undefined);
  assert.equal(await settleMsOf(tmpdir()), 0);
});

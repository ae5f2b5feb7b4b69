import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostItem } from '@prima/platforms';
import { compareItems } from './compare.ts';

const item = (name: string, text: string, more: Partial<HostItem> = {}): HostItem => ({
  name,
  content: Buffer.from(text),
  state: {},
  ...more,
});

test('items are added, removed, changed', () => {
  const a = [item('pools/a', '<pool/>'), item('networks/n', '<network>\n<name>n</name>\n</network>')];
  const b = [item('networks/n', '<network>\n<name>m</name>\n</network>'), item('nwfilters/f', '<filter/>')];
  assert.deepEqual(
    compareItems(a, b).map(({ item: name, change }) => [name, change]),
    [
      ['networks/n', 'changed'],
      ['nwfilters/f', 'added'],
      ['pools/a', 'removed'],
    ],
  );
});

test('UUIDs and fill levels that libvirt makes up are no difference; autostart is one', () => {
  const text = (uuid: string, bytes: number) =>
    `<pool>\n  <uuid>${uuid}</uuid>\n  <capacity unit='bytes'>${bytes}</capacity>\n</pool>`;
  assert.deepEqual(compareItems([item('pools/a', text('1', 1))], [item('pools/a', text('2', 2))]), []);
  const [change] = compareItems(
    [item('pools/a', text('1', 1), { state: { autostart: true } })],
    [item('pools/a', text('1', 1), { state: { autostart: false } })],
  );
  assert.deepEqual(
    change?.lines.filter(({ kind }) => kind !== 'same').map(({ text: line }) => line),
    ['autostart: yes', 'autostart: no'],
  );
});

test('values of secrets and passwords in files differ and are not shown', () => {
  const secret = (value: string) => item('secrets/1', '<secret/>', { value: Buffer.from(value) });
  const conf = (password: string) => item('etc/libvirt/qemu.conf', `vnc_password = "${password}"\n`);
  const changes = compareItems([secret('hush'), conf('hush')], [secret('quiet'), conf('quiet')]);
  assert.equal(changes.length, 2);
  assert.doesNotMatch(JSON.stringify(changes), /hush|quiet/);
  assert.match(JSON.stringify(changes), /vnc_password = \(not shown\)/);
  assert.deepEqual(compareItems([secret('hush')], [secret('hush')]), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLiteral } from './addresses.ts';

test('public addresses are reached', () => {
  for (const address of ['8.8.8.8', '93.184.216.34', '172.32.0.1', '2606:4700::1111', '[2606:4700::1111]'])
    assert.doesNotThrow(() => checkLiteral(address), address);
});

test('those of the server, its network and what carries them are not', () => {
  for (const address of [
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '172.16.0.1',
    '192.168.1.1',
    '224.0.0.1',
    '0.0.0.0',
    '::1',
    '[::1]',
    '::ffff:127.0.0.1',
    '::ffff:10.1.2.3',
    '64:ff9b::7f00:1',
    'fe80::1%eth0',
    'fd00::1',
  ])
    assert.throws(() => checkLiteral(address), { code: 'forbidden' }, address);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseXml, writeXml } from '@prima/xml';
import { mapNetworks } from './map-networks.ts';

const xml = `<devices><interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface><interface type='bridge'><source bridge='br0'/></interface><interface type='user'/></devices>`;

function mapped(map: Record<string, string>, present: string[]): { text: string; notes: string[] } {
  const document = parseXml(xml, 'devices');
  const notes = mapNetworks(document.root, { map, present });
  return { text: writeXml(document), notes };
}

test('what this host has stays', () => {
  const { text, notes } = mapped({}, ['lan']);
  assert.equal(text, xml);
  assert.deepEqual(notes, []);
});

test('cards go where they are told to', () => {
  const { text, notes } = mapped({ lan: 'default', br0: 'br7' }, ['default']);
  assert.match(text, /<interface type='network'><mac [^>]*\/><source network='default'\/>/);
  assert.match(text, /<interface type='bridge'><source bridge='br7'\/>/);
  assert.equal(notes.length, 2);
  assert.match(
    mapped({ lan: 'none' }, []).text,
    /<interface type='user'><mac [^>]*\/>.*<link state='down'\/>/,
  );
});

test('a network that is not there, and a rule that nothing fits, are refused', () => {
  assert.throws(() => mapped({}, ['default']), {
    code: 'not-found',
    message: /--network lan=default, --network lan=none/,
  });
  assert.throws(() => mapped({ wan: 'default' }, ['lan']), {
    code: 'usage',
    message: /no network card .* on wan/,
  });
});

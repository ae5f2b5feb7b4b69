import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from '@prima/base';
import {
  elementMaker,
  insertChild,
  newDocument,
  removeChild,
  setAttribute,
  setText,
  writeXml,
} from './write-xml.ts';
import { parseXml } from './xml.ts';
import { XmlReading } from './xml-reading.ts';

const text = `<?xml version="1.0" encoding="UTF-8"?>
<!-- before -->
<a:root xmlns:a="urn:a" xmlns="urn:b" x="1 &lt; 2" a:y="q">
  <b/>
  text &amp; more<!-- inside --><![CDATA[<raw>]]>
  <?go on?>
  <c></c>
</a:root>
<!-- after -->
`;

test('a document is written as it was read', () => {
  for (const source of [
    text,
    text.replaceAll('\n', '\r\n'),
    text.replaceAll('"', "'"),
    text.replaceAll('/>', ' />'),
  ]) {
    const expected = source.replace(/^<\?xml[^>]*>/, '<?xml version="1.0" encoding="UTF-8"?>');
    assert.equal(writeXml(parseXml(source, 'x')), expected);
  }
  const { root } = parseXml(text, 'x');
  assert.deepEqual([root.local, root.uri], ['root', 'urn:a']);
  assert.deepEqual(
    root.attributes.slice(2).map(({ local, uri }) => [local, uri]),
    [
      ['x', ''],
      ['y', 'urn:a'],
    ],
  );
});

test('document types, entities, outside references and bombs are refused', () => {
  const wrong = [
    '<!DOCTYPE a><a/>',
    '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
    '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    '<a>&x;</a>',
    '<a>&nbsp;</a>',
    '<a>&#0;</a>',
    '<a x="1" x="2"/>',
    '<a:b/>',
    '<a><b></a></b>',
    '<a/><b/>',
    'x<a/>',
    '',
    '<a>'.repeat(65) + '</a>'.repeat(65),
    `<a>${'<b/>'.repeat(100_001)}</a>`,
    ' '.repeat(4 * 1024 * 1024 + 1),
  ];
  for (const source of wrong) assert.throws(() => parseXml(source, 'x'), FormatError, source.slice(0, 60));
  assert.throws(
    () => parseXml('<a>\n  <b>\n</a>', 'the file web.xml'),
    (error) => error instanceof FormatError && error.message.startsWith('the file web.xml, line 3'),
  );
  assert.equal(parseXml('<a>'.repeat(64) + '</a>'.repeat(64), 'x').root.name, 'a');
});

test('other encodings become UTF-8', () => {
  const latin = Buffer.from('<?xml version="1.0" encoding="ISO-8859-1"?><a>\xfc</a>', 'latin1');
  assert.equal(writeXml(parseXml(latin, 'x')), '<?xml version="1.0" encoding="UTF-8"?>\n<a>ü</a>');
  const wide = Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from('<a>ü</a>', 'utf16le')]);
  assert.equal(writeXml(parseXml(wide, 'x')), '<a>ü</a>');
  assert.throws(() => parseXml(Buffer.from('<a>\xfc</a>', 'latin1'), 'x'), FormatError);
  assert.throws(
    () => parseXml(Buffer.from('<?xml version="1.0" encoding="klingon"?><a/>'), 'x'),
    FormatError,
  );
});

test('trees are made and changed', () => {
  const element = elementMaker({ p: 'urn:p' });
  const document = newDocument(
    element('p:a', { 'xmlns:p': 'urn:p' }, [element('b', { k: 'v"\n' }, ['<t>'])]),
    '"',
  );
  assert.equal(writeXml(document), '<p:a xmlns:p="urn:p">\n  <b k="v&quot;&#10;">&lt;t&gt;</b>\n</p:a>\n');
  const [, b] = document.root.children;
  assert.ok(b?.type === 'element');
  setText(b, 'u');
  setAttribute(b, 'k', undefined);
  setAttribute(b, 'm', 1);
  insertChild(document.root, element('c'), b);
  assert.equal(writeXml(document), '<p:a xmlns:p="urn:p">\n  <b m="1">u</b>\n  <c/>\n</p:a>\n');
  removeChild(document.root, b);
  assert.equal(writeXml(document), '<p:a xmlns:p="urn:p">\n  <c/>\n</p:a>\n');
  assert.deepEqual(parseXml(writeXml(document), 'x').root.uri, 'urn:p');
});

test('what nobody asked for is listed once, with how often', () => {
  const { root } = parseXml('<a x="1"><b y="2"/><b y="3" z="4">t</b><c><d/></c></a>', 'x');
  const reading = new XmlReading();
  for (const b of reading.children(root, 'b')) reading.attribute(b, 'y');
  assert.deepEqual(
    [...reading.unreadPaths(root)],
    [
      { path: 'a/@x', count: 1, sample: '1' },
      { path: 'a/b/@z', count: 1, sample: '4' },
      { path: 'a/b/text()', count: 1, sample: 't' },
      { path: 'a/c', count: 1, sample: '' },
    ],
  );
});

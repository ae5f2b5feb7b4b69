import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newRecoveryWords, recoveryKeyOf } from './recovery-words.ts';

// BIP 39, test vectors of 256 bits
const vectors = [
  [`${'abandon '.repeat(23)}art`, '00'.repeat(32)],
  [`${'zoo '.repeat(23)}vote`, 'ff'.repeat(32)],
  [
    'void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold',
    'f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f',
  ],
] as const;

test('words stand for the bytes that BIP 39 says', async () => {
  for (const [words, hex] of vectors)
    assert.equal(Buffer.from(await recoveryKeyOf(words)).toString('hex'), hex);
});

test('a new key has 24 words that come back, and is another each time', async () => {
  const words = await newRecoveryWords();
  assert.equal(words.split(' ').length, 24);
  assert.equal((await recoveryKeyOf(words)).length, 32);
  assert.notEqual(await newRecoveryWords(), words);
});

test('how the words are written does not matter', async () => {
  const [words, hex] = vectors[2];
  const list = words.split(' ');
  const ways = [
    words.toUpperCase(),
    ` ${list.join('\r\n')}\n`,
    list.map((word) => word.slice(0, 4)).join(' '),
    list.map((word, index) => `${index + 1}. ${word}`).join('\n'),
    list.map((word, index) => `${index + 1}.${word},`).join('  '),
    list.map((word) => word.slice(0, 5)).join('\t'),
  ];
  for (const way of ways) assert.equal(Buffer.from(await recoveryKeyOf(way)).toString('hex'), hex, way);
});

test('a wrong word is named by its position and not repeated', async () => {
  const list = vectors[2][0].split(' ');
  for (const wrong of ['efort', 'eff', 'effortx', 'ünder', 'ab']) {
    const words = list.with(2, wrong).join(' ');
    await assert.rejects(
      recoveryKeyOf(words),
      ({ code, message }) => code === 'usage' && message.startsWith('word 3 ') && !message.includes(wrong),
      wrong,
    );
  }
});

test('words that do not belong together, too few and too many are told apart', async () => {
  const list = vectors[2][0].split(' ');
  const [first = '', second = ''] = list;
  const swapped = [second, first, ...list.slice(2)].join(' ');
  await assert.rejects(recoveryKeyOf(swapped), { code: 'usage', message: /not a recovery key/ });
  await assert.rejects(recoveryKeyOf(list.slice(1).join(' ')), {
    code: 'usage',
    message: /24 words; 23 were/,
  });
  await assert.rejects(recoveryKeyOf(`${list.join(' ')} zoo`), { code: 'usage', message: /25 were/ });
  await assert.rejects(recoveryKeyOf(' \n'), { code: 'usage', message: /0 were/ });
});

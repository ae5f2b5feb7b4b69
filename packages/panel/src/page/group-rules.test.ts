import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGroupRules, writeGroupRules } from './group-rules.ts';

const organisation = (id: string, name: string) => ({ id, name, created: '' });
const organisations = [
  organisation('main', 'Main'),
  organisation('a1', 'Twice'),
  organisation('a2', 'Twice'),
  organisation('b', 'Odd: name'),
];

test('rules are read as they are written', () => {
  const text = 'CN=ops, DC=x = Main: operator, restorer\n/backup = a1: viewer\nodd = b: viewer';
  const rules = parseGroupRules(`\n${text}\n \n`, organisations);
  assert.deepEqual(rules, [
    { group: 'CN=ops, DC=x', organisation: 'main', roles: ['operator', 'restorer'] },
    { group: '/backup', organisation: 'a1', roles: ['viewer'] },
    { group: 'odd', organisation: 'b', roles: ['viewer'] },
  ]);
  assert.equal(writeGroupRules(rules, organisations), text);
});

test('what is no rule is named', () => {
  for (const [line, words] of [
    ['ops', /“ops” is no rule/],
    ['ops = Nowhere: viewer', /no organisation “Nowhere”/],
    ['ops = Twice: viewer', /several organisations/],
    ['ops = Main: king', /“king” is no role/],
  ] as const)
    assert.throws(() => parseGroupRules(line, organisations), words);
});

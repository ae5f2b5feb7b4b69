/** What groups of the identity provider may, as lines: `GROUP = ORGANISATION: role, role`. */
import { type IdentityProviderSettings, type Organisation, type Role, roles } from '@prima/api/http';

type GroupRule = IdentityProviderSettings['groups'][number];

const isRole = (text: string): text is Role => roles.some((role) => role === text);

/** Raises an error that names the line. */
export function parseGroupRules(text: string, organisations: readonly Organisation[]): GroupRule[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.map((line) => {
    const [, group = '', where = '', list = ''] = /^(.+?)\s*=\s*([^=:]+?)\s*:\s*([\w\s,]+)$/.exec(line) ?? [];
    if (group === '') throw new Error(`“${line}” is no rule; write GROUP = ORGANISATION: role, role`);
    const found = organisations.filter(({ id, name }) => name === where || id === where);
    const [organisation] = found;
    if (!organisation) throw new Error(`there is no organisation “${where}”`);
    if (found.length > 1) throw new Error(`several organisations are called “${where}”; write the id of one`);
    const given = list.split(/[\s,]+/).filter((role) => role !== '');
    const unknown = given.find((role) => !isRole(role));
    if (unknown !== undefined || given.length === 0)
      throw new Error(`“${unknown ?? ''}” is no role; there are ${roles.join(', ')}`);
    return { group, organisation: organisation.id, roles: given.filter(isRole) };
  });
}

export function writeGroupRules(rules: readonly GroupRule[], organisations: readonly Organisation[]): string {
  const nameOf = (wanted: string) => {
    const name = organisations.find(({ id }) => id === wanted)?.name ?? wanted;
    const isOnly = organisations.filter((one) => one.name === name).length === 1;
    return isOnly && !/[=:]/.test(name) ? name : wanted;
  };
  return rules
    .map(({ group, organisation, roles: given }) => `${group} = ${nameOf(organisation)}: ${given.join(', ')}`)
    .join('\n');
}

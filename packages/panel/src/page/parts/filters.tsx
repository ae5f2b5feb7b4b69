/** What a list is narrowed by: words that are searched for, and choices of which each has "all". */
import { NativeSelect, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { type ReactNode, useState } from 'react';

const typingMs = 250;

export interface Choice<Key extends string> {
  key: Key;
  label: string;
  of: readonly string[];
}

/** The query has what is chosen, and `q` once typing pauses; without what is empty. */
export function useFilters<Key extends string>(
  choices: readonly Choice<Key>[],
): { query: Partial<Record<Key | 'q', string>>; filters: ReactNode } {
  const [typed, setTyped] = useState('');
  const [q] = useDebouncedValue(typed.trim(), typingMs);
  const [chosen, setChosen] = useState<Partial<Record<string, string>>>({});
  const query = Object.fromEntries(Object.entries({ q, ...chosen }).filter(([, value]) => value));
  const filters = (
    <div className="filters">
      <TextInput
        type="search"
        label="Search"
        value={typed}
        onChange={({ currentTarget }) => setTyped(currentTarget.value)}
      />
      {choices.map(({ key, label, of }) => (
        <NativeSelect
          key={key}
          label={label}
          value={chosen[key] ?? ''}
          onChange={({ currentTarget: { value } }) => setChosen((old) => ({ ...old, [key]: value }))}
          data={[{ value: '', label: 'all' }, ...of]}
        />
      ))}
    </div>
  );
  return { query: query as Partial<Record<Key | 'q', string>>, filters };
}

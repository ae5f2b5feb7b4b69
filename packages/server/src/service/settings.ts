/** An organisation's settings. */
import type { Settings } from '@prima/api/http';
import type { Kysely } from 'kysely';
import type { Tables } from '../state/tables.ts';

export const defaultSettings: Omit<Settings, 'organisationName'> = {
  inventoryMinutes: 10,
  secondApproval: false,
};

export async function readSettings(db: Kysely<Tables>, organisation: string): Promise<Settings> {
  const { name, settings } = await db
    .selectFrom('organisation')
    .select(['name', 'settings'])
    .where('id', '=', organisation)
    .executeTakeFirstOrThrow();
  return { ...defaultSettings, ...(JSON.parse(settings) as Partial<Settings>), organisationName: name };
}

export async function writeSettings(
  db: Kysely<Tables>,
  organisation: string,
  settings: Settings,
): Promise<Settings> {
  const { organisationName: name, ...rest } = settings;
  await db
    .updateTable('organisation')
    .set({ name, settings: JSON.stringify(rest) })
    .where('id', '=', organisation)
    .execute();
  return settings;
}

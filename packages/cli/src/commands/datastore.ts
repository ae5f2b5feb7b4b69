/** `prima datastore`: folders of disk files, which machines use what of them, and what nobody does. */
import type { DatastoreShowRequest } from '@prima/api';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import type { Invocation } from '../invocation.ts';
import { datastoreReport, datastoreTable } from '../render/datastore.ts';
import { printable } from '../terminal/width.ts';

export function registerDatastore(program: Command, cli: Cli): void {
  const datastore = program
    .command('datastore')
    .description('look at folders of disk files: who uses what, room, orphans');
  datastore
    .command('list')
    .description('list the datastores that were added, with their room')
    .action(
      cli.action({}, async (invocation) => {
        const found = await invocation.call((api, call) => api.datastoreList(call));
        invocation.result(found, (page) =>
          found.length === 0 ? 'No datastores.' : datastoreTable(found, page),
        );
      }),
    );
  datastore
    .command('add')
    .description('give folders a name')
    .argument('<name>', 'what to call them')
    .argument('<folder...>', '1 to 32 folders, which are looked at as one')
    .action(
      cli.action({}, async (invocation, name: string, folders: string[]) => {
        const request = { name, folders: folders.map((folder) => invocation.path(folder)) };
        const added = await invocation.call((api, call) => api.datastoreAdd(request, call));
        invocation.result(added, () =>
          printable(`Added datastore ${added.name}: ${added.folders.join(', ')}`),
        );
      }),
    );
  datastore
    .command('remove')
    .description('forget a datastore; its files stay as they are')
    .argument('<name>', 'the datastore')
    .action(
      cli.action({}, async (invocation, name: string) => {
        await invocation.call((api, call) => api.datastoreRemove({ name }, call));
        invocation.result({ removed: name }, () => printable(`Removed datastore ${name}`));
      }),
    );
  datastore
    .command('show')
    .description('show which machines use which files, what is missing, and what no machine refers to')
    .argument('<name|folder...>', 'a datastore that was added, or folders (with a /)')
    .action(
      cli.action({}, async (invocation, names: string[]) => {
        const report = await invocation.call((api, call) =>
          api.datastoreShow(requestOf(invocation, names), call),
        );
        invocation.result(report, (page) => datastoreReport(report, page));
      }),
    );
}

/** One word without a slash is a name. */
function requestOf(invocation: Invocation, names: readonly string[]): DatastoreShowRequest {
  const [name = ''] = names;
  const isName = names.length === 1 && !name.includes('/') && !/^\.{1,2}$/.test(name);
  return isName ? { name } : { folders: names.map((folder) => invocation.path(folder)) };
}

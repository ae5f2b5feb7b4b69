/** Whom Prima tells when something needs a person. What goes into the audit log is where, never with what. */
import type { notificationEndpoints } from '@prima/api/http';
import type { Handlers } from './handler.ts';

export const notificationHandlers: Handlers<keyof typeof notificationEndpoints> = {
  listChannels: async ({ service, organisation }) => ({
    items: await service.notifications.channels.list(organisation),
  }),
  addChannel: async ({ service, organisation, body, note }) => {
    note(body.name, { kind: body.target.kind });
    const channel = await service.notifications.channels.add(organisation, body);
    note(channel.name, { kind: channel.kind, at: channel.at, events: channel.events });
    return channel;
  },
  changeChannel: async ({ service, organisation, path, body, note }) => {
    const channel = await service.notifications.channels.change(organisation, path['id'] ?? '', body);
    const { name, kind, at, enabled, events, digest } = channel;
    note(name, { kind, at, enabled, events, digest, isNewTarget: body.target !== undefined });
    return channel;
  },
  testChannel: async ({ service, organisation, path, note }) => {
    const channel = await service.notifications.channels.get(organisation, path['id'] ?? '');
    note(channel.name);
    await service.notifications.test(channel);
  },
  removeChannel: async ({ service, organisation, path, note }) => {
    const { name, place } = await service.notifications.channels.remove(organisation, path['id'] ?? '');
    note(name, { at: place });
  },
};

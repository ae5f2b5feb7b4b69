/** What is told, before it has the shape of a channel. */
import type { NotificationEvent } from '@prima/api/http';

export interface Message {
  /** The same each time it is tried: who gets it twice can tell. */
  id: string;
  event: NotificationEvent | 'digest' | 'test';
  /** UTC, ISO 8601. */
  time: string;
  organisation: string;
  title: string;
  lines: string[];
}

export const textOf = ({ title, lines }: Message): string => [title, ...lines].join('\n');

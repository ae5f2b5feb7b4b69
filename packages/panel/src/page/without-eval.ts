/** Loaded before any schema is made: zod would make code while it runs, which the server's content security policy forbids. */
import { config } from 'zod';

config({ jitless: true });

/** What goes over the wire, as TypeScript has it. */
import type { z } from 'zod';
import type * as accounts from './accounts.ts';
import type * as common from './common.ts';
import type * as jobs from './jobs.ts';
import type * as things from './things.ts';

export type Approval = z.infer<typeof accounts.approval>;
export type AuditEntry = z.infer<typeof accounts.auditEntry>;
export type Host = z.infer<typeof things.host>;
export type Job = z.infer<typeof jobs.job>;
export type JobEventEntry = z.infer<typeof jobs.jobEvent>;
export type JobState = z.infer<typeof jobs.jobState>;
export type MachineRow = z.infer<typeof things.machine>;
export type Organisation = z.infer<typeof accounts.organisation>;
export type Overview = z.infer<typeof things.overview>;
export type PointRow = z.infer<typeof things.point>;
export type Policy = z.infer<typeof jobs.policy>;
export type PolicyPreview = z.infer<typeof jobs.policyPreview>;
export type PolicySettings = z.infer<typeof jobs.policySettings>;
export type Problem = z.infer<typeof common.problem>;
export type Protection = z.infer<typeof things.protection>;
export type RepositoryRow = z.infer<typeof things.repository>;
export type Session = z.infer<typeof accounts.session>;
export type Settings = z.infer<typeof things.settings>;
export type Token = z.infer<typeof accounts.token>;
export type User = z.infer<typeof accounts.user>;

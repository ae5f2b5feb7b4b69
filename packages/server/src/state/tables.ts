/**
 * The tables of Prima's state, the same in SQLite and PostgreSQL. Times are UTC in ISO 8601 (they sort as text), flags are 0 or 1, what is
 * JSON is said so. Everything but organisations and accounts belongs to one organisation, by its id.
 */
import type { JobState, NotificationChannel, NotificationEvent } from '@prima/api/http';

type Flag = 0 | 1;

export interface Tables {
  organisation: { id: string; name: string; created: string /** JSON */; settings: string };
  account: {
    id: string;
    name: string;
    email: string | null;
    /** PHC string of Argon2id; empty: none, which no password fits. */
    password: string;
    /** Sealed. */
    totp: string | null;
    /** Sealed: a secret of which no code was given yet. */
    totp_pending: string | null;
    /** The step of the code that was used last: none counts twice. */
    totp_step: number;
    created: string;
    last_seen: string | null;
  };
  membership: {
    account_id: string;
    organisation_id: string;
    /** JSON, of `Role` */
    roles: string;
    disabled: Flag;
    /** Given by groups of the identity provider, and taken by them. */
    by_groups: Flag;
  };
  /** One row at most. */
  identity_provider: {
    id: 'main';
    /** JSON, of `IdentityProviderSettings` */
    settings: string;
    /** Sealed. */
    secret: string | null;
  };
  /** Who is whom at an identity provider. */
  identity: { id: string; account_id: string; issuer: string; subject: string; created: string };
  session: {
    /** SHA-256 of the cookie, hex. */
    hash: string;
    account_id: string;
    organisation_id: string;
    csrf: string;
    created: string;
    seen: string;
    expires: string;
    /** Where it was begun, and with what: as the browser says of itself. */
    address: string;
    agent: string;
  };
  link: {
    hash: string;
    purpose: 'first-start' | 'invitation' | 'reset';
    organisation_id: string;
    account_id: string | null;
    name: string | null;
    roles: string;
    created: string;
    expires: string;
  };
  token: {
    id: string;
    hash: string;
    account_id: string;
    organisation_id: string;
    name: string;
    roles: string;
    created: string;
    expires: string;
    last_used: string | null;
  };
  audit: {
    organisation_id: string;
    sequence: number;
    time: string;
    actor: string;
    action: string;
    target: string | null;
    outcome: 'done' | 'refused' | 'failed';
    /** JSON */
    details: string;
    hash: string;
  };
  repository: {
    id: string;
    organisation_id: string;
    name: string;
    url: string;
    /** Sealed. */
    secret: string;
    created: string;
    looked: string | null;
    checked: string | null;
    stored: number | null;
    free: number | null;
    /** JSON, of `Problem` */
    error: string | null;
    /** JSON: bytes a second, of all that the server does with it */
    limits: string;
  };
  repository_size: { repository_id: string; time: string; stored: number };
  point: {
    repository_id: string;
    id: string;
    organisation_id: string;
    host: string | null;
    machine: string;
    machine_id: string;
    time: string;
    mode: string;
    quiesced: Flag;
    name: string | null;
    /** JSON */
    tags: string;
    size: number;
    read: number;
    data: number;
    added: number;
    stored: number;
    disks: number;
    warnings: number;
    locked_until: string | null;
    parent: string | null;
    /** Of a copy: the id of the point that it was first copied from. */
    origin: string | null;
  };
  host_state: {
    organisation_id: string;
    name: string;
    seen: string | null;
    /** JSON, of `Problem` */
    error: string | null;
  };
  machine: {
    organisation_id: string;
    host: string;
    name: string;
    machine_id: string;
    state: string;
    memory: number;
    cpus: number;
    disk_bytes: number;
    disks: number;
    agent: string;
    seen: string;
    gone: Flag;
    /** JSON: disks and notes */
    detail: string;
    /** JSON, names of policies */
    policies: string;
    promise_hours: number;
    points: number;
    last_point: string | null;
    /** When its last good point is older than promised. */
    due: string | null;
    /** JSON, of `Problem`: why its last backup failed. */
    last_error: string | null;
  };
  /** A process beside hosts that the server does not read itself. */
  worker: {
    organisation_id: string;
    /** Its own choice: it is in its home folder. */
    id: string;
    name: string;
    version: string;
    hostname: string;
    at_once: number;
    registered: string;
    /** Its last sign of life. */
    seen: string;
  };
  worker_host: {
    organisation_id: string;
    name: string;
    worker_id: string;
    platform: 'qemu' | 'libvirt';
    location: string;
  };
  machine_tag: { organisation_id: string; machine_id: string; tag: string };
  policy: {
    id: string;
    organisation_id: string;
    name: string;
    /** JSON, of `PolicySettings` */
    settings: string;
    created: string;
    next_run: string | null;
    last_run: string | null;
  };
  job: {
    id: string;
    organisation_id: string;
    operation: string;
    summary: string;
    /** Sealed JSON: there may be secrets in it. */
    request: string;
    /** JSON, without them */
    shown: string;
    repository: string | null;
    /** JSON */
    machines: string;
    host: string | null;
    /** So many run at once on the host, as this job sees it. */
    host_limit: number | null;
    state: JobState;
    requested_by: string;
    policy_id: string | null;
    attempt: number;
    attempts: number;
    created: string;
    not_before: string | null;
    started: string | null;
    ended: string | null;
    cancelling: Flag;
    /** JSON */
    progress: string | null;
    result: string | null;
    error: string | null;
    idempotency: string | null;
    /** JSON, of `ProcessIdentity`: who runs it. */
    owner: string | null;
    /** The owner's last sign of life. */
    beat: string | null;
  };
  job_machine: { organisation_id: string; machine: string; job_id: string };
  job_event: { job_id: string; id: number; time: string /** JSON */; event: string };
  approval: {
    id: string;
    organisation_id: string;
    operation: string;
    summary: string;
    request: string;
    repository: string | null;
    requested_by: string;
    requester_id: string;
    requested: string;
    expires: string;
    state: 'waiting' | 'approved' | 'refused';
    decided_by: string | null;
    job_id: string | null;
  };
  notification_channel: {
    id: string;
    organisation_id: string;
    name: string;
    kind: NotificationChannel['kind'];
    /** Where it goes, for people: nothing secret. */
    place: string;
    /** JSON: whether it is on, of what it is told, when its digest is due */
    settings: string;
    /** Sealed JSON, of `NotificationTarget` */
    target: string;
    created: string;
    /** The day, in the digest's zone, of the last one. */
    digest_day: string | null;
    last_sent: string | null;
    /** JSON: time and message */
    last_error: string | null;
  };
  /** What happened and was not told yet: what happens together is one message. */
  notification_event: {
    id: string;
    organisation_id: string;
    event: NotificationEvent;
    subject: string;
    reason: string;
    created: string;
    /** The one gathering that it belongs to. */
    gathered_by: string | null;
  };
  /** What is still to be delivered. */
  notification_message: {
    id: string;
    channel_id: string;
    /** JSON, of `Message` */
    content: string;
    created: string;
    /** Not tried before. */
    due: string;
    attempt: number;
    /** Somebody tries it; when this has passed, they have died. */
    claimed_until: string | null;
  };
  /** What is known to be wrong, and has been told. */
  standing_condition: { organisation_id: string; event: NotificationEvent; subject: string; since: string };
}
